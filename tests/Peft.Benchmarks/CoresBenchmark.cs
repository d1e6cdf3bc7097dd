using System.Diagnostics;

namespace Peft.Benchmarks;

/// <summary>How a training step goes on more cores: measured with one and two threads in turns, and estimated for more
/// by rehearsing it (<see cref="Rehearsal"/>).</summary>
/// <remarks>
/// A step is shared work, cut by our kernels and rehearsed task by task, and what lies between: libtorch's own
/// operations, which may use threads, and code that cannot. With one and with two threads of libtorch that takes O1 and
/// O2, so 2 O2 - O1 of it is serial (Amdahl) and the rest is divided by the threads.
/// </remarks>
internal static class CoresBenchmark
{
    private const int MostRounds = 3;
    private const double MostSerial = 3; // % of a step on one thread
    private const int Named = 8;
    private static readonly int[] Estimated = [2, 4, 16, 64];

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var threads = TorchRuntime.Threads;
        try
        {
            var (rank, experts) = (TrainingStep.Rank, TrainingStep.Experts);
            using (var step = TrainingStep.Lora(options))
            {
                foreach (var measurement in Of($"step, LoRA r={rank}", step, options))
                    yield return measurement;
            }
            using (var step = TrainingStep.Mixture(options))
            {
                foreach (var measurement in Of($"step, {experts} experts r={rank}", step, options))
                    yield return measurement;
            }
        }
        finally
        {
            TorchRuntime.Threads = threads;
        }
    }

    private static IEnumerable<Measurement> Of(string name, TrainingStep step, BenchmarkOptions options)
    {
        Rehearse(step, 1, Estimated[^1]);
        var rounds = Enumerable.Range(0, Math.Min(options.Rounds, MostRounds)).Select(_ => Round.Of(step)).ToList();
        yield return Measurement.Of(name + ", one thread", "ms", rounds.Select(r => 1e3 * r.Alone), "");
        yield return Measurement.Of(
            "  of it on one thread whatever their number", "%", rounds.Select(r => 100 * r.Serial / r.Alone),
            FormattableString.Invariant($"at most {MostSerial}; ") + FormattableString.Invariant(
                $"{Median(rounds.Select(r => 100 * r.Outside / r.Alone)):F1} with libtorch's own operations"));
        yield return Measurement.Of(
            "  speed-up with 2 threads", "x", rounds.Select(r => r.One / r.Two),
            FormattableString.Invariant($"{Median(rounds.Select(r => r.SpeedUp(2))):F2} by the rehearsal; ")
                + FormattableString.Invariant($"{Median(rounds.Select(r => r.Busy)):F2} cores busy"));
        foreach (var n in Estimated[1..])
        {
            var outside = Median(rounds.Select(r => 100 * r.Between(n) / r.Whole(n)));
            yield return Measurement.Of(
                $"  speed-up with {n} threads, rehearsed", "x", rounds.Select(r => r.SpeedUp(n)),
                FormattableString.Invariant(
                    $"{outside:F1} % of that step outside shared work, cut {rounds[0].Times(n)} times"));
        }
        foreach (var measurement in Losses(rounds))
            yield return measurement;
    }

    // What keeps the step on the most threads from taking its part of the time on one: the kinds that lose most.
    private static IEnumerable<Measurement> Losses(List<Round> rounds)
    {
        var n = Estimated[^1];
        return rounds[0].Kinds(n)
            .Select(kind => Measurement.Of(
                $"    lost with {n} threads: {kind}", "%", rounds.Select(r => 100 * r.Lost(kind, n) / r.Whole(n)),
                "of that step: parts uneven, too few, or too small"))
            .Concat(rounds[0].Gaps.Select(gap => Measurement.Of(
                $"    lost with {n} threads: from {gap}", "%",
                rounds.Select(r => 100 * r.LostBetween(gap, n) / r.Whole(n)), "of that step: outside shared work")))
            .OrderByDescending(m => m.Value).Take(Named);
    }

    private static double Median(IEnumerable<double> values) => Measurement.Of("", "", values, "").Value;

    private static Rehearsal Rehearse(TrainingStep step, int libtorch, int threads)
    {
        TorchRuntime.Threads = libtorch;
        var rehearsal = new Rehearsal(threads);
        Threads.Rehearsal = rehearsal;
        try
        {
            step.Run();
            rehearsal.Stop();
            return rehearsal;
        }
        finally
        {
            Threads.Rehearsal = null;
        }
    }

    /// <summary>One turn of everything.</summary>
    private sealed class Round
    {
        private readonly Dictionary<int, Rehearsal> _rehearsals;
        // As the first of them, with two threads of libtorch.
        private readonly Rehearsal _halved;

        private Round(TrainingStep step)
        {
            (One, _) = Time(step, 1);
            (Two, Busy) = Time(step, 2);
            // Cut for one thread, nothing is shared work.
            Alone = Rehearse(step, 1, 1).Between.Values.Sum();
            _rehearsals = Estimated.ToDictionary(n => n, n => Rehearse(step, 1, n));
            _halved = Rehearse(step, 2, Estimated[0]);
        }

        /// <summary>Seconds of a step with one thread.</summary>
        public double One { get; }

        /// <summary>Seconds of a step with two.</summary>
        public double Two { get; }

        /// <summary>Cores busy on average with two threads; waiting by spinning counts as busy.</summary>
        public double Busy { get; }

        /// <summary>Processor time of a step on one thread.</summary>
        public double Alone { get; }

        /// <summary>Of it what lies between shared work.</summary>
        public double Outside => _rehearsals[Estimated[0]].Between.Values.Sum();

        /// <summary>Of that what no thread can be added to.</summary>
        public double Serial => Gaps.Sum(SerialOf);

        public IEnumerable<string> Gaps => _rehearsals[Estimated[0]].Between.Keys;

        public static Round Of(TrainingStep step) => new(step);

        public double Whole(int n) => Between(n) + _rehearsals[n].Shared.Values.Sum(work => work.Dealt);

        public double SpeedUp(int n) => Alone / Whole(n);

        public int Times(int n) => _rehearsals[n].Shared.Values.Sum(work => work.Times);

        public double Between(int n) => Gaps.Sum(gap => BetweenOf(gap, n));

        public IEnumerable<string> Kinds(int n) => _rehearsals[n].Shared.Keys;

        public double Lost(string kind, int n)
        {
            var work = _rehearsals[n].Shared.GetValueOrDefault(kind);
            return work.Dealt - (work.Seconds / n);
        }

        public double LostBetween(string gap, int n) => BetweenOf(gap, n) - (BetweenOf(gap, 1) / n);

        private double BetweenOf(string gap, int n)
        {
            var serial = SerialOf(gap);
            return serial + ((_rehearsals[Estimated[0]].Between[gap] - serial) / n);
        }

        private double SerialOf(string gap)
        {
            var whole = _rehearsals[Estimated[0]].Between[gap];
            return Math.Clamp((2 * _halved.Between.GetValueOrDefault(gap)) - whole, 0, whole);
        }

        private static (double Seconds, double Busy) Time(TrainingStep step, int threads)
        {
            TorchRuntime.Threads = threads;
            using var process = Process.GetCurrentProcess();
            var (started, used) = (Stopwatch.GetTimestamp(), process.TotalProcessorTime);
            step.Run();
            var seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
            process.Refresh();
            return (seconds, (process.TotalProcessorTime - used).TotalSeconds / seconds);
        }
    }
}
