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
        // Open MPI ends its ranks a second after Ctrl-C: they need longer to save.
        Variables = more.Append(("OMPI_ALLOW_RUN_AS_ROOT", "1")).Append(("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"))
            .Append(("OMPI_MCA_odls_base_sigkill_timeout", "20"))
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
