using System.Globalization;

namespace Peft.Benchmarks;

/// <summary>Peak resident memory of training steps, above what was resident once the model was there.</summary>
internal static class MemoryBenchmark
{
    private const double Mega = 1048576;
    private const int Steps = 3;

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        // The smaller one first: what it leaves in the process is given back before the other.
        if (Above(options, gradientCheckpointing: true) is not { } again
            || Above(options, gradientCheckpointing: false) is not { } kept)
            yield break; // a system that does not tell
        yield return new(
            $"peak memory of {Steps} LoRA steps above the loaded model", kept.Mega, "MB", kept.Mega, kept.Mega,
            FormattableString.Invariant(
                $"{kept.Estimate / Mega:F1} MB estimated by --dry-run; weights take {kept.Weights / Mega:F1} MB"));
        yield return new(
            "the same with gradient checkpointing", again.Mega, "MB", again.Mega, again.Mega,
            FormattableString.Invariant(
                $"{again.Mega / kept.Mega:P0} of that without; {again.Estimate / Mega:F1} MB estimated"));
        yield return new(
            "peak memory of the process in LoRA steps", kept.Whole, "MB", kept.Whole, kept.Whole,
            FormattableString.Invariant(
                $"program, libtorch and weights included; {again.Whole:F1} MB with gradient checkpointing"));
    }

    private static (double Mega, double Whole, long Weights, long Estimate)? Above(
        BenchmarkOptions options, bool gradientCheckpointing)
    {
        using var step = TrainingStep.Lora(options, gradientCheckpointing);
        step.Run(); // brings in the code of the kernels, which lies in files and is not memory of a step
        TorchRuntime.TrimMemory();
        var before = StatusBytes("VmRSS:");
        if (before == 0 || !ResetPeak())
            return null;
        for (var i = 0; i < Steps; i++)
            step.Run();
        var peak = StatusBytes("VmHWM:");
        return ((peak - before) / Mega, peak / Mega, step.WeightBytes, step.EstimatedActivations);
    }

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
