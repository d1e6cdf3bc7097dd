using System.Diagnostics;
using System.Globalization;
using Peft.Distributed;
using Peft.Distributed.Mpi;
using Peft.Formats;

namespace Peft.Benchmarks;

/// <summary>What several processes cost and bring: sums between two of them, and a training step that two share over
/// one process with as many threads in all.</summary>
internal static class RanksBenchmark
{
    /// <summary>The word that starts one of the processes.</summary>
    public const string Once = "--ranks-once";

    private const string Sums = "sums", Steps = "steps";
    private const int Ranks = 2;
    private const int MostTurns = 3, StepsOfATurn = 5;
    private const int Many = 100; // small sums, together
    private static readonly string[] Launchers = ["mpirun.openmpi", "mpirun.mpich"];

    // A step's gradients: small ones, rank 16 on 1B and on 8B. Numbers of 4 bytes.
    private static readonly int[] Sizes = [2_000_000, 11_272_192, 41_943_040];

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        List<string> launchers = [.. Launchers.Where(IsThere)];
        if (launchers.Count == 0)
            Console.Error.WriteLine($"ranks: left out - there is none of {string.Join(", ", Launchers)}");
        foreach (var launcher in launchers)
        {
            foreach (var measurement in OfSums(launcher, options).Concat(OfSteps(launcher, options)))
                yield return measurement;
        }
    }

    /// <summary>What one of the processes does: prints seconds, where it is the first.</summary>
    public static int RunOnce(string[] words)
    {
        var options = BenchmarkOptions.Parse(words[1..])!;
        var launch = Launch.Read(Environment.GetEnvironmentVariable);
        using ICommunicator ranks = launch.IsShared ? MpiCommunicator.Join(launch) : Alone.Instance;
        TorchRuntime.Start(Math.Max(1, (options.Threads ?? Environment.ProcessorCount) / ranks.Size));
        List<double> seconds = [.. words[0] == Sums ? SecondsOfSums(ranks, options) : SecondsOfSteps(ranks, options)];
        if (ranks.IsFirst())
            Console.WriteLine(string.Join(
                ' ', seconds.Select(one => one.ToString("R", CultureInfo.InvariantCulture))));
        return 0;
    }

    private static IEnumerable<Measurement> OfSums(string launcher, BenchmarkOptions options)
    {
        var seconds = Start(launcher, Sums, options).Chunk(options.Rounds).ToList();
        yield return Measurement.Of(
            $"{launcher}, {Ranks} ranks: a sum of one number", "us", seconds[0].Select(s => 1e6 * s / Many),
            "latency: the ranks meet, then sum");
        foreach (var (size, rounds) in Sizes.Zip(seconds[1..]))
        {
            var bytes = sizeof(float) * (double)size;
            yield return Measurement.Of(
                FormattableString.Invariant($"  a sum of {bytes / 1e6:F0} MB"), "ms", rounds.Select(s => 1e3 * s),
                FormattableString.Invariant(
                    $"{2.0 * (Ranks - 1) / Ranks * bytes / rounds.Order().ElementAt(rounds.Length / 2) / 1e9:F1} GB/s")
                    + " = 2 (n - 1) / n of the bytes by the time");
        }
    }

    private static IEnumerable<Measurement> OfSteps(string launcher, BenchmarkOptions options)
    {
        var cores = options.Threads ?? Environment.ProcessorCount;
        if (cores % Ranks != 0)
            yield break; // one process would have more
        var turns = Enumerable.Range(0, Math.Min(options.Rounds, MostTurns)).Select(_ => (
            Alone: Median(Start(null, Steps, options)), Shared: Median(Start(launcher, Steps, options)))).ToList();
        var tokens = (double)options.Shape.Rows;
        yield return Measurement.Of(
            $"  training step, LoRA r={TrainingStep.Rank}, {Ranks} ranks of {Words.Count(cores / Ranks, "thread")}",
            "tokens/s", turns.Select(turn => tokens / turn.Shared), "sum of the gradients included");
        yield return Measurement.Of(
            $"    over one process of {Words.Count(cores, "thread")} in the same turns", "x",
            turns.Select(turn => turn.Alone / turn.Shared), "at least 0.95");
    }

    private static IEnumerable<double> SecondsOfSums(ICommunicator ranks, BenchmarkOptions options)
    {
        for (var round = 0; round <= options.Rounds; round++)
        {
            var seconds = Time(() =>
            {
                for (var i = 0; i < Many; i++)
                    ranks.Sum([0.0]);
            });
            if (round > 0)
                yield return seconds;
        }
        foreach (var size in Sizes)
        {
            var numbers = new float[size];
            for (var round = 0; round <= options.Rounds; round++)
            {
                var seconds = TimeSum(ranks, numbers);
                if (round > 0)
                    yield return seconds;
            }
        }
    }

    private static double TimeSum(ICommunicator ranks, float[] numbers)
    {
        Array.Fill(numbers, 1); // so that there are pages, and no sum beyond what a number holds
        ranks.Barrier();
        return Time(() => ranks.Sum(numbers.AsSpan()));
    }

    private static IEnumerable<double> SecondsOfSteps(ICommunicator ranks, BenchmarkOptions options)
    {
        using var step = new TrainingStep(options, options.Shape, TrainingStep.LoraOf(TrainingStep.Rank), ranks: ranks);
        step.Run();
        for (var i = 0; i < StepsOfATurn; i++)
            yield return Time(step.Run);
    }

    private static double[] Start(string? launcher, string what, BenchmarkOptions options)
    {
        string[] started = launcher switch
        {
            null => [],
            "mpirun.openmpi" => [launcher, "--oversubscribe", "--bind-to", "none", "-n", $"{Ranks}"],
            _ => [launcher, "-n", $"{Ranks}"],
        };
        string[] threads = options.Threads is { } count ? ["--threads", $"{count}"] : [];
        return DataBenchmark.Numbers(
            started,
            [Once, what, "--shape", options.Shape.Name, "--dtype", $"{options.Dtype}".ToLowerInvariant(),
                "--rounds", $"{options.Rounds}", .. threads]);
    }

    private static double Median(IEnumerable<double> values) => Measurement.Of("", "", values, "").Value;

    private static bool IsThere(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
        .Any(folder => File.Exists(Path.Combine(folder, program)));

    private static double Time(Action action)
    {
        var started = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(started).TotalSeconds;
    }
}
