namespace Peft.Benchmarks;

/// <summary>The mixture operation with more and larger experts, forward and backward, in each way it can be computed:
/// where the one overtakes the other.</summary>
internal static class ExpertsBenchmark
{
    private const int Rows = 1024;
    private const int MostRounds = 3;
    private static readonly (int In, int Out)[] Layers = [(768, 768), (768, 2048)];
    private static readonly int[] Counts = [2, 4, 8, 16, 32, 64];
    private static readonly int[] Ranks = [8, 16, 64];
    private static readonly int[] SingleRanks = [4, 8, 16, 32, 64];

    /// <summary>The ways, the first for comparison: a name, and what computes the layer.</summary>
    private static readonly (string Name, Func<Layer, Tensor> Compute)[] Ways =
    [
        ("stacked", layer => Fused.lora_mixture_linear(
            layer.X, layer.Weight, null, layer.A, layer.B, layer.Gates, 2)),
        ("grouped where it pays", layer => Fused.lora_mixture_linear(
            layer.X, layer.Weight, null, layer.A, layer.B, layer.Gates, 2, selected: layer.Selected)),
    ];

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options) =>
        (from layer in Layers
         from rank in SingleRanks
         from measurement in OfOne(options, layer.In, layer.Out, rank)
         select measurement)
        .Concat(
            from layer in Layers
            from rank in Ranks
            from experts in Counts
            from measurement in Of(options, layer.In, layer.Out, experts, rank)
            select measurement);

    // A plain LoRA, and the same as an expert whose gates are 1, which goes through the stacked products.
    private static IEnumerable<Measurement> OfOne(BenchmarkOptions options, int D, int O, int rank)
    {
        using var scope = torch.NewDisposeScope();
        var layer = new Layer(options, D, O, rank, torch.ones(Rows, 1));
        var seconds = Times(
            options, layer, layer => Fused.lora_mixture_linear(
                layer.X, layer.Weight, null, layer.A, layer.B, null, 2), Ways[0].Compute);
        yield return Measurement.Of($"{D} -> {O}, plain LoRA r={rank,2}", "ms", seconds[0].Select(s => 1e3 * s),
            FormattableString.Invariant($"{Ratio(seconds[0], seconds[1]):F2} of {Ways[0].Name}"));
    }

    private static IEnumerable<Measurement> Of(BenchmarkOptions options, int D, int O, int experts, int rank)
    {
        using var scope = torch.NewDisposeScope();
        var columns = experts * rank;
        var layer = new Layer(options, D, O, columns, MixtureBenchmark.TopTwo(Rows, experts).requires_grad_());
        var seconds = Times(options, layer, [.. Ways.Select(way => way.Compute)]);
        // Multiply-adds over those of the frozen layer, all experts and two a token.
        double Work(int ranks) => 1 + (3.0 * ranks * (D + O) / (2.0 * D * O));
        var works = FormattableString.Invariant(
            $"by multiply-adds {Work(columns):F2} of the layer alone, {Work(2 * rank):F2} with two experts");
        foreach (var ((name, _), own) in Ways.Zip(seconds))
        {
            yield return Measurement.Of(
                $"{D} -> {O}, {experts,2} experts r={rank,2}, top-2, {name}", "ms", own.Select(s => 1e3 * s),
                name == Ways[0].Name ? works
                    : FormattableString.Invariant($"{Ratio(own, seconds[0]):F2} of {Ways[0].Name}"));
        }
    }

    private static double[][] Times(BenchmarkOptions options, Layer layer, params Func<Layer, Tensor>[] ways)
    {
        var gradient = torch.randn(Rows, layer.Weight.size(0)).to(options.Dtype);
        return Rounds.Seconds(Math.Min(options.Rounds, MostRounds), [.. ways.Select(way =>
            MixtureBenchmark.Once(
                () => Gradients.backward(way(layer), gradient), [layer.X, layer.A, layer.B, layer.Gates]))]);
    }

    private static double Ratio(double[] own, double[] first) =>
        Measurement.Of("", "", own.Zip(first, (o, f) => o / f), "").Value;

    /// <summary>One adapted layer: x [N, D], weight [O, D], a [E R, D], b [O, E R], gates [N, E].</summary>
    private sealed record Layer(Tensor X, Tensor Weight, Tensor A, Tensor B, Tensor Gates)
    {
        public Layer(BenchmarkOptions options, int D, int O, int columns, Tensor gates)
            : this(
                torch.randn(Rows, D).to(options.Dtype).requires_grad_(), torch.randn(O, D).to(options.Dtype),
                torch.randn(columns, D).requires_grad_(), torch.randn(O, columns).requires_grad_(), gates)
        {
        }

        /// <summary>The gates that count, bool [N, E].</summary>
        public Tensor Selected { get; } = Gates.detach().gt(0);
    }
}
