using System.Diagnostics;
using System.Text;

namespace Peft.Cli.Tests.Support;

/// <summary>The launchers of MPI that this machine has.</summary>
internal static class MpiRun
{
    public const string OpenMpi = "mpirun.openmpi";
    public const string Mpich = "mpirun.mpich";

    /// <summary>Why a launcher's tests cannot run here; null where they can.</summary>
    public static string? Lacks(string launcher) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder =>
            File.Exists(Path.Combine(folder, launcher)))
            ? null : $"needs {launcher} (apt-get install {(launcher == OpenMpi ? "openmpi-bin" : "mpich")})";

    /// <summary>A launcher's start of several ranks.</summary>
    public static Surroundings Of(string launcher, int ranks, params (string Name, string Value)[] more) => new()
    {
        Prefix = launcher == OpenMpi ? [launcher, "--oversubscribe", "-n", $"{ranks}"] : [launcher, "-n", $"{ranks}"],
        // Open MPI asks its ranks to end after so many seconds, and kills them after as many more.
        Variables = more.Append(("OMPI_ALLOW_RUN_AS_ROOT", "1")).Append(("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"))
            .Append(("OMPI_MCA_odls_base_sigkill_timeout", "6"))
            .ToDictionary(pair => pair.Item1, pair => pair.Item2),
    };

    /// <summary>The process of a rank whose command line holds a text.</summary>
    public static int ProcessOf(int rank, string text)
    {
        foreach (var folder in Directory.GetDirectories("/proc").Where(folder => int.TryParse(
            Path.GetFileName(folder), out _)))
        {
            try
            {
                var variables = Encoding.UTF8.GetString(File.ReadAllBytes($"{folder}/environ")).Split('\0');
                if (File.ReadAllText($"{folder}/cmdline").Contains(text, StringComparison.Ordinal)
                    && (variables.Contains($"OMPI_COMM_WORLD_RANK={rank}") || variables.Contains($"PMI_RANK={rank}")))
                    return int.Parse(Path.GetFileName(folder));
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // It has just ended, or is somebody else's.
            }
        }
        throw new InvalidOperationException($"no process of rank {rank} with {text}");
    }
}

/// <summary>A test once for each MPI, skipped where one of them is missing.</summary>
public sealed class MpiFactAttribute : FactAttribute
{
    public MpiFactAttribute(string launcher) => Skip = MpiRun.Lacks(launcher);
}

/// <summary>Two network namespaces of Linux with names of their own, joined by one wire: to Open MPI two
/// machines.</summary>
internal sealed class TwoHosts : IDisposable
{
    private static readonly string[] Addresses = ["198.18.77.1", "198.18.77.2"]; // of the range for benchmarks

    /// <summary>Makes them; the script that stands for ssh lies in the folder.</summary>
    public TwoHosts(TempFolder folder)
    {
        foreach (var name in Names)
            Run("ip", "netns", "add", name);
        Run("ip", "link", "add", Wire, "netns", Names[0], "type", "veth", "peer", "name", Wire, "netns", Names[1]);
        foreach (var (name, address) in Names.Zip(Addresses))
        {
            Run("ip", "-n", name, "address", "add", $"{address}/24", "dev", Wire);
            Run("ip", "-n", name, "link", "set", "lo", "up");
            Run("ip", "-n", name, "link", "set", Wire, "up");
        }
        folder.Write("agent", $"""
            #!/bin/sh
            while [ "$1" != "{Addresses[0]}" ] && [ "$1" != "{Addresses[1]}" ]; do shift; done
            name={Names[0]}; [ "$1" = "{Addresses[0]}" ] || name={Names[1]}
            shift
            exec nsenter --net=/run/netns/$name unshare --uts sh -c "hostname $name; $*"
            """);
        Run("chmod", "+x", folder["agent"]);
        var mpi = MpiRun.Of(MpiRun.OpenMpi, 2);
        Surroundings = mpi with
        {
            Prefix =
            [
                "nsenter", $"--net=/run/netns/{Names[0]}", "unshare", "--uts", "sh", "-c",
                $"hostname {Names[0]}; exec \"$@\"", "sh", .. mpi.Prefix, "--bind-to", "none",
                "--host", string.Join(',', Addresses), "--mca", "plm", "rsh", "--mca", "plm_rsh_agent", folder["agent"],
                "--mca", "pml", "ob1", "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "198.18.77.0/24",
                "--mca", "oob_tcp_if_include", "198.18.77.0/24",
            ],
        };
    }

    /// <summary>What they call themselves.</summary>
    public string[] Names { get; } = [$"peft{Environment.ProcessId}a", $"peft{Environment.ProcessId}b"];

    /// <summary>A start of a rank on each.</summary>
    public Surroundings Surroundings { get; }

    private static string Wire => $"peft{Environment.ProcessId}";

    /// <summary>Why they cannot be made here; null where they can.</summary>
    public static string? Lacks()
    {
        if (MpiRun.Lacks(MpiRun.OpenMpi) is { } missing)
            return missing;
        try
        {
            // Some systems make a namespace and let nobody into it: all that is needed is tried.
            var name = $"peft{Environment.ProcessId}try";
            Run("ip", "netns", "add", name);
            try
            {
                Run("ip", "-n", name, "link", "set", "lo", "up");
                Run("nsenter", $"--net=/run/netns/{name}", "unshare", "--uts", "true");
            }
            finally
            {
                Run("ip", "netns", "delete", name);
            }
            return null;
        }
        catch (Exception error) when (error is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            return "needs ip (apt-get install iproute2) and the right to make network namespaces";
        }
    }

    /// <summary>What the second one has received.</summary>
    public long BytesReceived() => long.Parse(Run("nsenter", $"--net=/run/netns/{Names[1]}", "cat", "/proc/net/dev")
        .Split('\n').Single(line => line.Contains(Wire)).Split(':')[1].Split(' ', StringSplitOptions.RemoveEmptyEntries)
            [0]);

    public void Dispose()
    {
        foreach (var name in Names)
            Run("ip", "netns", "delete", name);
    }

    private static string Run(string program, params string[] words)
    {
        using var process = Process.Start(new ProcessStartInfo(program, words)
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        })!;
        var output = process.StandardOutput.ReadToEnd();
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? output
            : throw new InvalidOperationException($"{program} {string.Join(' ', words)}: {error}");
    }
}

/// <summary>A test of two machines, skipped where they cannot be made.</summary>
public sealed class TwoHostsFactAttribute : FactAttribute
{
    public TwoHostsFactAttribute() => Skip = TwoHosts.Lacks();
}
