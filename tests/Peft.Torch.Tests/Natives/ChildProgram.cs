using System.Diagnostics;
using System.Globalization;

namespace Peft.Torch.Tests.Natives;

/// <summary>What is true once a process: how libtorch was started. Tests run this program and read what it
/// prints.</summary>
internal static class ChildProgram
{
    /// <summary>Prints what the first word names.</summary>
    public static int Main(string[] words)
    {
        using var scope = torch.NewDisposeScope();
        Console.WriteLine(words[0] switch
        {
            "start" => $"threads {torch.get_num_threads()}",
            "product" => Product(),
            "neighbours" => TorchRuntime.WatchesNeighbours ? "watched" : "unwatched",
            "mark" => NativeLoader.OpenMarked(words[1]) != 0,
            "describe" => string.Join('\n', TorchRuntime.Describe().Select(line => $"{line.Name}: {line.Found}")),
            "spin" => File.ReadAllText("/proc/self/maps").Contains("libgomp", StringComparison.Ordinal)
            ? Libc.GetVariable("GOMP_SPINCOUNT") ?? "unset" : "no libgomp",
            _ => throw new ArgumentException(words[0]),
        });
        return 0;
    }

    /// <summary>Runs this program in a process of its own.</summary>
    /// <param name="folder">Where it lies; null: where these tests lie.</param>
    /// <param name="environment">Variables as NAME=VALUE.</param>
    /// <param name="words">Its words.</param>
    internal static (int Code, string Output, string Error) Run(
        string? folder, string[] environment, params string[] words)
    {
        var assembly = typeof(ChildProgram).Assembly.Location;
        var start = new ProcessStartInfo(
            Environment.ProcessPath!.EndsWith("dotnet", StringComparison.Ordinal) ? Environment.ProcessPath : "dotnet",
            [Path.Combine(folder ?? Path.GetDirectoryName(assembly)!, Path.GetFileName(assembly)), .. words])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var name in new[] { "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", MklOnAmd.AsIsVariable,
            NativeFiles.LibTorchVariable })
            start.Environment.Remove(name);
        foreach (var pair in environment)
            start.Environment[pair[..pair.IndexOf('=')]] = pair[(pair.IndexOf('=') + 1)..];
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result);
    }

    // Sizes that no block divides.
    private static string Product()
    {
        using var generator = new Generator(1, torch.CPU);
        var product = torch.mm(torch.randn(61, 127, generator: generator), torch.randn(127, 93, generator: generator));
        return string.Join(
            ' ', product.data<float>().ToArray().Select(value => value.ToString("R", CultureInfo.InvariantCulture)));
    }
}
