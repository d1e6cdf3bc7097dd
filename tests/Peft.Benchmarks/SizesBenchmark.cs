using System.Diagnostics;

namespace Peft.Benchmarks;

/// <summary>What larger work costs: long sequences, many experts, large ranks on the shape that was asked for; many
/// tokens a step, many rows of data and many steps on the smallest.</summary>
internal static class SizesBenchmark
{
    private const int LongLength = 2048;
    private const int MostRounds = 3;
    private const int EarlySteps = 40;
    private const int LateSteps = 300;
    private static readonly int[] PackedTokens = [512, 2048, 8192];
    private static readonly (int Experts, int Rank)[] Mixtures = [(32, 8), (64, 8), (8, 64)];
    private static readonly int[] DataRows = [2_000, 200_000];

    private static ModelShape Smallest => ModelShape.All[0];

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options) =>
        Long(options).Concat(OfMixtures(options)).Concat(Packed(options)).Concat(Later(options))
            .Concat(OfData(options));

    private static IEnumerable<Measurement> Long(BenchmarkOptions options)
    {
        var shape = options.Shape with { Length = LongLength, Batch = 1 };
        using var step = new TrainingStep(options, shape, TrainingStep.LoraOf(TrainingStep.Rank));
        using var scope = torch.NewDisposeScope();
        var attention = StepBenchmark.Attention(options, shape);
        var seconds = Rounds.Seconds(Math.Min(options.Rounds, MostRounds), step.Run, attention);
        yield return Measurement.Of(
            $"training step, LoRA r={TrainingStep.Rank}, one sequence of {LongLength}", "us a token",
            seconds[0].Select(s => 1e6 * s / LongLength), "");
        yield return Measurement.Of(
            "  attention", "%", seconds[0].Zip(seconds[1], (whole, one) => 100 * shape.Layers * one / whole),
            "of the step");
    }

    private static IEnumerable<Measurement> OfMixtures(BenchmarkOptions options)
    {
        var shape = options.Shape;
        using var lora = TrainingStep.Lora(options);
        foreach (var (experts, rank) in Mixtures)
        {
            using var mixture = new TrainingStep(options, shape, TrainingStep.MixtureOf(experts, rank));
            var seconds = Rounds.Seconds(Math.Min(options.Rounds, MostRounds), lora.Run, mixture.Run);
            var works = MultiplyAdds.OfStep(shape, experts * rank, experts)
                / MultiplyAdds.OfStep(shape, TrainingStep.Rank);
            yield return Measurement.Of(
                $"training step, {experts} experts r={rank}, top-2, over LoRA r={TrainingStep.Rank}", "x",
                seconds[1].Zip(seconds[0], (m, l) => m / l),
                FormattableString.Invariant($"{works:F2} by multiply-adds, all experts computed"));
        }
    }

    private static IEnumerable<Measurement> Packed(BenchmarkOptions options)
    {
        foreach (var tokens in PackedTokens)
        {
            var sequences = tokens / Smallest.Length;
            using var step = new TrainingStep(
                options, Smallest with { Length = tokens, Batch = 1 },
                TrainingStep.MixtureOf(TrainingStep.Experts, TrainingStep.Rank), sequencesARow: sequences);
            var seconds = Rounds.Seconds(options.Rounds, step.Run)[0];
            yield return Measurement.Of(
                $"{Smallest.Name}: {tokens} tokens a step, {sequences} sequences in one row", "us a token",
                seconds.Select(s => 1e6 * s / tokens), "the same for each number of tokens");
        }
    }

    private static IEnumerable<Measurement> Later(BenchmarkOptions options)
    {
        using var step = new TrainingStep(
            options, Smallest, TrainingStep.MixtureOf(TrainingStep.Experts, TrainingStep.Rank));
        var times = Enumerable.Range(0, LateSteps).Select(_ =>
        {
            var started = Stopwatch.GetTimestamp();
            step.Run();
            return 1e3 * Stopwatch.GetElapsedTime(started).TotalSeconds;
        }).ToList();
        var early = times.GetRange(EarlySteps / 2, EarlySteps);
        var late = times.GetRange(LateSteps - EarlySteps, EarlySteps);
        yield return Measurement.Of(
            $"{Smallest.Name}: the last {EarlySteps} of {LateSteps} steps", "ms a step", late,
            FormattableString.Invariant(
                $"{Measurement.Of("", "", early, "").Value:F2} after {EarlySteps / 2} steps; the same"));
    }

    private static IEnumerable<Measurement> OfData(BenchmarkOptions options)
    {
        if (TokenizerBenchmark.Repository() is not { } repository)
        {
            Console.Error.WriteLine("sizes: without data - started outside the checkout, so there is no recipe");
            yield break;
        }
        var folder = Directory.CreateTempSubdirectory("peft-bench-").FullName;
        try
        {
            foreach (var rows in DataRows)
                DataBenchmark.Write(Path.Combine(folder, $"{rows}.parquet"), rows);
            var recipe = Path.Combine(repository, PackingBenchmark.FourTasks);
            var rounds = Enumerable.Range(0, Math.Min(options.Rounds, MostRounds))
                .Select(_ => DataRows.Select(rows => PackingBenchmark.Speed(recipe, Settings(folder, rows))).ToArray())
                .ToList();
            foreach (var (index, rows) in DataRows.Index())
            {
                yield return Measurement.Of(
                    FormattableString.Invariant($"top-k recipe on {rows:N0} rows"), "tokens/s",
                    rounds.Select(speeds => speeds[index]), "the same for each number of rows");
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string[] Settings(string folder, int rows) =>
    [
        $"data.train=[{{name: rows, files: '{folder}/{rows}.parquet', "
            + "template: {prompt: 'meaning: {definition} =', answer: ' {pos}'}}]",
    ];
}
