using System.Globalization;

namespace Peft.Benchmarks;

/// <summary>Peak resident memory of training steps, above what was resident once the model was there.</summary>
internal static class MemoryBenchmark
{
    private const double Mega = 1048576;
    private const int Steps = 3;

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        using var step = TrainingStep.Lora(options);
        var before = StatusBytes("VmRSS:");
        if (before == 0 || !ResetPeak())
            yield break; // a system that does not tell
        for (var i = 0; i < Steps; i++)
            step.Run();
        var above = (StatusBytes("VmHWM:") - before) / Mega;
        yield return new(
            $"peak memory of {Steps} LoRA steps above the loaded model", above, "MB", above, above,
            FormattableString.Invariant($"base and adapter weights take {step.WeightBytes / Mega:F1} MB"));
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
        return line is null ? 0 : long.Parse(line[key.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) * 1024;
    }
}
