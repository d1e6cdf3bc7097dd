using System.Diagnostics;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests.Crash;

/// <summary>A call of the program that changes the disk, as crash_at.c wrote it down.</summary>
/// <param name="Number">Its number among those that were counted, from 1.</param>
/// <param name="Name">What it does, e.g. rename.</param>
/// <param name="Path">On which file, relative to the folder watched, without the numbers of the process.</param>
internal sealed record DiskCall(int Number, string Name, string Path)
{
    public override string ToString() => $"{Name} {Path}";
}

/// <summary>Where a run is to be struck: at a call (0: at none), counting calls of one name or all of them.</summary>
internal sealed record Strike(int At, string Call = "", int Signal = PeftProcess.KillNow, bool IsTorn = false)
{
    public static Strike None { get; } = new(0);
}

/// <summary>crash_at.c, compiled for this machine, and what a process needs to be watched by it.</summary>
internal static class CrashLibrary
{
    private static readonly Lazy<string> Built = new(Build);

    public static bool IsPossible { get; } = Runs("gcc", "--version");

    /// <summary>The variables for a process that is watched below a folder and struck once.</summary>
    public static Surroundings Watch(string folder, string log, Strike strike) => new()
    {
        Variables = new Dictionary<string, string>
        {
            ["LD_PRELOAD"] = Built.Value,
            ["CRASH_FOLDER"] = folder,
            ["CRASH_LOG"] = log,
            ["CRASH_CALL"] = strike.Call,
            ["CRASH_AT"] = $"{strike.At}",
            ["CRASH_SIGNAL"] = $"{strike.Signal}",
            ["CRASH_TORN"] = strike.IsTorn ? "1" : "0",
        },
    };

    /// <summary>The calls of a log.</summary>
    public static List<DiskCall> Read(string log, string folder) => !File.Exists(log) ? [] :
    [
        .. File.ReadLines(log).Select(line => line.Split(' ', 3)).Select(part => new DiskCall(
            int.Parse(part[0]), part[1], WithoutNumbers(Path.GetRelativePath(folder, part[2])))),
    ];

    private static string WithoutNumbers(string path) =>
        System.Text.RegularExpressions.Regex.Replace(path, @"(?<=\.(tmp|old)-)[0-9-]+|(?<=checkpoint-)\d+|\d{5,}", "N");

    private static string Build()
    {
        var folder = new TempFolder();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => folder.Dispose();
        var source = Path.Combine(SharedAssets.Repository, "tests", "Peft.Cli.Tests", "Crash", "crash_at.c");
        Assert.True(
            Runs("gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", folder["crash_at.so"], source,
            "-ldl"), $"{source} does not compile");
        return folder["crash_at.so"];
    }

    private static bool Runs(string program, params string[] words)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, words) { RedirectStandardOutput = true })!;
            process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}

/// <summary>
/// A fact that compiles a few lines of C; reported as skipped, with the reason, where there is no compiler.
/// </summary>
public sealed class CrashFactAttribute : FactAttribute
{
    public CrashFactAttribute() => Skip = CrashLibrary.IsPossible ? null : "needs gcc (apt-get install gcc libc6-dev)";
}
