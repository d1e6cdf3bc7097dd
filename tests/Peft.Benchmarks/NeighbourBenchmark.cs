using System.Diagnostics;

namespace Peft.Benchmarks;

/// <summary>A training step beside a program that keeps one core busy, over the step alone in the same
/// rounds.</summary>
internal static class NeighbourBenchmark
{
    private const string Goal = "at most 2.5";
    private const int Steps = 3; // a turn, so that the scheduler's first moment does not count

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        if (!File.Exists("/bin/sh"))
        {
            Console.Error.WriteLine("neighbour: left out - there is no /bin/sh to be one");
            yield break;
        }
        using var step = TrainingStep.Lora(options);
        step.Run();
        var rounds = Enumerable.Range(0, options.Rounds)
            .Select(_ => (Alone: Time(step), Free: Beside(step, pinned: false), Pinned: Beside(step, pinned: true)))
            .ToList();
        yield return Measurement.Of(
            $"training step, LoRA r={TrainingStep.Rank}, alone", "ms", rounds.Select(r => 1e3 * r.Alone), "");
        yield return Measurement.Of(
            "  beside a busy program", "x", rounds.Select(r => r.Free / r.Alone), Goal);
        yield return Measurement.Of(
            "  beside one that is bound to the first core", "x", rounds.Select(r => r.Pinned / r.Alone), Goal);
    }

    private static double Beside(TrainingStep step, bool pinned)
    {
        using var neighbour = Process.Start("/bin/sh", ["-c", "while :; do :; done"]);
        try
        {
            if (pinned && OperatingSystem.IsLinux())
                neighbour.ProcessorAffinity = 1;
            return Time(step);
        }
        finally
        {
            neighbour.Kill();
            neighbour.WaitForExit();
        }
    }

    private static double Time(TrainingStep step)
    {
        var started = Stopwatch.GetTimestamp();
        for (var i = 0; i < Steps; i++)
            step.Run();
        return Stopwatch.GetElapsedTime(started).TotalSeconds / Steps;
    }
}
