namespace Peft.Benchmarks;

/// <summary>The one mixture operation, forward and backward: fused, composed of single operations, and without
/// experts.</summary>
internal static class MixtureBenchmark
{
    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var shape = options.Shape;
        const int Columns = TrainingStep.Experts * TrainingStep.Rank;
        using var scope = torch.NewDisposeScope();
        var x = torch.randn(shape.Rows, shape.Hidden).to(options.Dtype).requires_grad_();           // [N, D]
        var weight = torch.randn(shape.FeedForward, shape.Hidden).to(options.Dtype);                // [F, D]
        var a = torch.randn(Columns, shape.Hidden).requires_grad_();                                // [E R, D]
        var b = torch.randn(shape.FeedForward, Columns).requires_grad_();                           // [F, E R]
        var gates = TopTwo(shape.Rows, TrainingStep.Experts).requires_grad_();                       // [N, E]
        var gradient = torch.randn(shape.Rows, shape.FeedForward).to(options.Dtype);                // [N, F]
        Tensor[] inputs = [x, a, b, gates];

        void Kernel() => Gradients.backward(Fused.lora_mixture_linear(x, weight, null, a, b, gates, 2), gradient);

        void Composed()
        {
            var down = x.mm(a.to(options.Dtype).t()) * gates.repeat_interleave(TrainingStep.Rank, 1).to(options.Dtype);
            Gradients.backward(torch.nn.functional.linear(x, weight) + down.mm(b.to(options.Dtype).t()) * 2, gradient);
        }

        void Base() => Gradients.backward(Fused.linear(x, weight), gradient);

        var seconds = Rounds.Seconds(options.Rounds, Once(Kernel, inputs), Once(Composed, inputs), Once(Base, inputs));
        var name = $"mixture [{shape.Rows}, {shape.Hidden}] -> {shape.FeedForward}, {TrainingStep.Experts} experts "
            + $"r={TrainingStep.Rank}, top-2";
        // Base: forward and to x. Adapters: three times N C (D + O).
        var baseWork = 2.0 * shape.Hidden * shape.FeedForward;
        var limit = (baseWork + 3.0 * Columns * (shape.Hidden + shape.FeedForward)) / baseWork;
        yield return Measurement.Of(name + ", fused", "ms", seconds[0].Select(s => 1e3 * s), "");
        yield return Measurement.Of(
            "  composed of single operations over fused", "x", seconds[1].Zip(seconds[0], (c, f) => c / f),
            "above 1: fusing pays");
        yield return Measurement.Of(
            "  fused over the frozen layer alone", "x", seconds[0].Zip(seconds[2], (f, l) => f / l),
            FormattableString.Invariant($"{limit:F3} by multiply-adds"));
    }

    /// <summary>A call in a scope of its own that leaves no gradients behind.</summary>
    internal static Action Once(Action operation, Tensor[] inputs) => () =>
    {
        using var scope = torch.NewDisposeScope();
        operation();
        foreach (var input in inputs)
            input.grad = null;
    };

    /// <summary>Gates [rows, experts] of random scores, two of each row above zero.</summary>
    internal static Tensor TopTwo(long rows, int experts)
    {
        using var off = torch.no_grad();
        var scores = torch.randn(rows, experts);
        var (values, indices) = torch.topk(scores.softmax(-1), 2, -1);
        return torch.zeros_like(scores).scatter(-1, indices, values / values.sum(-1, keepdim: true));
    }
}
