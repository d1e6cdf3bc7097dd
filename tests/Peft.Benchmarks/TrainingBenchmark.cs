namespace Peft.Benchmarks;

/// <summary>Training steps of plain LoRA and of a mixture, beside the GEMM rate that the machine reaches in the same
/// rounds.</summary>
internal static class TrainingBenchmark
{
    private const double Dropout = 0.05;

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var shape = options.Shape;
        using var lora = TrainingStep.Lora(options);
        using var dropping = new TrainingStep(options, shape, TrainingStep.LoraOf(TrainingStep.Rank) with
        {
            LoraDropout = Dropout,
        });
        using var mixture = TrainingStep.Mixture(options);
        var gemms = Gemms(shape).ToList();
        using var scope = torch.NewDisposeScope();
        var operands = gemms.Select(g => (X: Random(shape.Rows, g.In, options), W: Random(g.Out, g.In, options)))
            .ToList();

        var seconds = Rounds.Seconds(
            options.Rounds,
            [lora.Run, mixture.Run, dropping.Run, .. operands.Select(o => (Action)(() => Multiply(o.X, o.W)))]);
        var (plain, mixed, dropped, products) = (seconds[0], seconds[1], seconds[2], seconds[3..]);

        var rates = new double[options.Rounds][];
        for (var round = 0; round < options.Rounds; round++)
            rates[round] = [.. gemms.Select((g, i) => shape.Rows * (double)g.In * g.Out / products[i][round])];
        for (var i = 0; i < gemms.Count; i++)
            yield return Measurement.Of(
                $"GEMM {options.Dtype} {shape.Rows}x{gemms[i].In}x{gemms[i].Out}", "GFLOP/s",
                rates.Select(r => 2e-9 * r[i]), "this machine's rate now");

        // The GEMM rate of a round: the forward products of a whole model, each as often as it occurs, one after the
        // other.
        var modelWork = gemms.Sum(g => g.Times * shape.Rows * (double)g.In * g.Out);
        var gemmRate = Enumerable.Range(0, options.Rounds)
            .Select(r => modelWork / gemms.Select((g, i) => g.Times * products[i][r]).Sum()).ToArray();
        var tokens = (double)shape.Rows;
        var work = MultiplyAdds.OfStep(shape, TrainingStep.Rank);
        var mixtureWork = MultiplyAdds.OfStep(shape, TrainingStep.Rank * TrainingStep.Experts, TrainingStep.Experts);
        yield return Measurement.Of(
            $"training step, LoRA r={TrainingStep.Rank} on all linears", "tokens/s", plain.Select(s => tokens / s),
            FormattableString.Invariant(
                $"{tokens * gemmRate.Order().ElementAt(options.Rounds / 2) / work:F0} at the GEMM rate"));
        yield return Measurement.Of(
            "  its multiply-adds as share of the GEMM rate", "%", plain.Select((s, r) => 100 * work / s / gemmRate[r]),
            "100: nothing but GEMMs");
        yield return Measurement.Of(
            FormattableString.Invariant($"  with lora_dropout {Dropout}, its time over the same without"), "x",
            dropped.Zip(plain, (d, p) => d / p), "1: numbers are dropped for nothing");
        yield return Measurement.Of(
            $"training step, {TrainingStep.Experts} experts r={TrainingStep.Rank}, top-2", "tokens/s",
            mixed.Select(s => tokens / s), "");
        yield return Measurement.Of(
            "  its time over plain LoRA's", "x", mixed.Zip(plain, (m, p) => m / p),
            FormattableString.Invariant($"{mixtureWork / work:F3} by multiply-adds, all experts computed"));
    }

    // The layers' shapes and the head's, with how often each occurs.
    private static IEnumerable<(long In, long Out, int Times)> Gemms(ModelShape shape) => shape.Linears
        .GroupBy(linear => linear).Select(group => (group.Key.In, group.Key.Out, Times: group.Count() * shape.Layers))
        .Append((shape.Hidden, shape.Vocabulary, 1));

    private static Tensor Random(long rows, long columns, BenchmarkOptions options) =>
        torch.randn(rows, columns).to(options.Dtype);

    private static void Multiply(Tensor x, Tensor w)
    {
        using var off = torch.no_grad();
        using var product = torch.nn.functional.linear(x, w);
    }
}
