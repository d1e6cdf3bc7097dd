using Peft.Adapters.Lora;

namespace Peft.Benchmarks;

/// <summary>How the time of a step grows with its tokens, with the number of experts, with their rank; always on the
/// smallest shape.</summary>
internal static class ScaleBenchmark
{
    private const int BarWidth = 30;
    private static ModelShape Shape => ModelShape.All[0];

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options) =>
        [
            .. Series(
                options, "tokens a step", "us a token", [256, 512, 1024, 2048, 4096, 8192],
                tokens => Shape with { Batch = Math.Max(1, tokens / Shape.Length),
                Length = Math.Min(tokens, Shape.Length) },
                _ => TrainingStep.MixtureOf(TrainingStep.Experts, TrainingStep.Rank), tokens => 1e6 / tokens),
            .. Series(
                options, "experts of rank 8", "ms a step", [1, 2, 4, 8, 16, 32, 64], _ => Shape,
                experts => TrainingStep.MixtureOf(experts, TrainingStep.Rank), _ => 1e3),
            .. Series(
                options, "rank of 8 experts", "ms a step", [4, 8, 16, 32, 64], _ => Shape,
                rank => TrainingStep.MixtureOf(TrainingStep.Experts, rank), _ => 1e3),
        ];

    private static IEnumerable<Measurement> Series(
        BenchmarkOptions options, string name, string unit, int[] values, Func<int, ModelShape> shape,
        Func<int, AdapterOptions> adapter,
        Func<int, double> factor)
    {
        var measured = new List<Measurement>();
        foreach (var value in values)
        {
            using var step = new TrainingStep(options, shape(value), adapter(value));
            var seconds = Rounds.Seconds(options.Rounds, step.Run)[0];
            measured.Add(Measurement.Of($"{value,6} {name}", unit, seconds.Select(s => factor(value) * s), ""));
        }
        var longest = measured.Max(m => m.Value);
        return measured.Select(
            m => m with { Limit = new string('#', Math.Max(1, (int)Math.Round(BarWidth * m.Value / longest))) });
    }
}
