using System.Diagnostics;
using Peft.Formats;

namespace Peft.Benchmarks;

/// <summary>bin/peft of the checkout, as a process.</summary>
internal sealed class BuiltProgram
{
    private const int LookEvery = 10; // ms

    private readonly string _file;

    private BuiltProgram(string repository) =>
        (Repository, _file) = (repository, Path.Combine(repository, "bin", "peft"));

    /// <summary>The checkout.</summary>
    public string Repository { get; }

    /// <summary>The program; null, with a word on the terminal, where it was not built.</summary>
    public static BuiltProgram? Find(string measurement)
    {
        if (TokenizerBenchmark.Repository() is { } repository && File.Exists(Path.Combine(repository, "bin", "peft")))
            return new(repository);
        Console.Error.WriteLine($"{measurement}: left out - bin/peft is not there; run `make build`");
        return null;
    }

    /// <summary>Runs it in the checkout; its output, and the largest resident size that it had, in bytes.</summary>
    /// <exception cref="UserException">It failed.</exception>
    public (string Output, long Bytes) Run(params string[] words)
    {
        using var process = Process.Start(new ProcessStartInfo(_file, words)
        {
            WorkingDirectory = Repository, RedirectStandardOutput = true, RedirectStandardError = true,
        })!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        // The kernel keeps the peak, so only what grows within the last look is missed.
        var bytes = 0L;
        while (!process.WaitForExit(LookEvery))
        {
            process.Refresh();
            bytes = Math.Max(bytes, Peak(process));
        }
        process.WaitForExit();
        if (process.ExitCode != 0)
            throw new UserException($"peft {string.Join(' ', words)} ended with {process.ExitCode}\n{errors.Result}");
        return (output.Result + errors.Result, bytes);
    }

    private static long Peak(Process process)
    {
        try
        {
            return process.PeakWorkingSet64;
        }
        catch (InvalidOperationException)
        {
            return 0; // it ended just now
        }
    }
}
