using System.Globalization;

namespace Peft.Benchmarks;

/// <summary>Peak resident memory of training steps: of a whole process that does nothing else, and above what was
/// resident once the model was there.</summary>
internal static class MemoryBenchmark
{
    /// <summary>The word that starts such a process.</summary>
    public const string Once = "--memory-once";

    private const string Again = "again", Kept = "kept";
    private const double Mega = 1048576;
    private const int Steps = 3;

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        if (!File.Exists("/proc/self/clear_refs"))
            yield break; // a system that does not tell
        var (kept, again) = (Start(options, Kept), Start(options, Again));
        yield return Of(
            $"peak memory of {Steps} LoRA steps above the loaded model", kept.Above,
            FormattableString.Invariant(
                $"{kept.Estimate:F1} MB estimated by --dry-run; weights take {kept.Weights:F1} MB"));
        yield return Of("  of the whole process", kept.Whole, "program, libtorch and weights included");
        yield return Of(
            "the same with gradient checkpointing", again.Above,
            FormattableString.Invariant(
                $"{again.Above / kept.Above:P0} of that without; {again.Estimate:F1} MB estimated"));
        yield return Of("  of the whole process", again.Whole, "");
    }

    /// <summary>What such a process does: prints peak memory above the loaded model, peak memory, weights and what
    /// <c>--dry-run</c> says of the activations, in MB.</summary>
    public static int RunOnce(string[] words)
    {
        var options = BenchmarkOptions.Parse(words[1..])!;
        TorchRuntime.Start(options.Threads);
        using var step = TrainingStep.Lora(options, gradientCheckpointing: words[0] == Again);
        step.Run(); // brings in the code of the kernels, which lies in files and is not memory of a step
        TorchRuntime.TrimMemory();
        var before = StatusBytes("VmRSS:");
        if (!ResetPeak())
            return 1;
        for (var i = 0; i < Steps; i++)
            step.Run();
        var peak = StatusBytes("VmHWM:");
        double[] numbers = [peak - before, peak, step.WeightBytes, step.EstimatedActivations];
        Console.WriteLine(string.Join(
            ' ', numbers.Select(bytes => (bytes / Mega).ToString("R", CultureInfo.InvariantCulture))));
        return 0;
    }

    private static (double Above, double Whole, double Weights, double Estimate) Start(
        BenchmarkOptions options, string way)
    {
        string[] threads = options.Threads is { } count ? ["--threads", $"{count}"] : [];
        var numbers = DataBenchmark.Numbers([
            Once, way, "--shape", options.Shape.Name, "--dtype", $"{options.Dtype}".ToLowerInvariant(), .. threads]);
        return (numbers[0], numbers[1], numbers[2], numbers[3]);
    }

    private static Measurement Of(string name, double value, string limit) =>
        new(name, value, "MB", value, value, limit);

    /// <summary>Makes the kernel count the peak anew; false where it does not.</summary>
    public static bool ResetPeak()
    {
        try
        {
            File.WriteAllText("/proc/self/clear_refs", "5");
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>A number of /proc/self/status in bytes; 0 where there is none.</summary>
    public static long StatusBytes(string key)
    {
        const string Status = "/proc/self/status";
        if (!File.Exists(Status))
            return 0;
        var line = File.ReadLines(Status).FirstOrDefault(l => l.StartsWith(key, StringComparison.Ordinal));
        return line is null ? 0 : long.Parse(
            line[key.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) * 1024;
    }
}
