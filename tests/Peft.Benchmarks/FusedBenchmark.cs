using Peft.Models.Loading;

namespace Peft.Benchmarks;

/// <summary>What each fused operation brings, forward and backward: its time, and that of its composed form in the same
/// rounds.</summary>
internal static class FusedBenchmark
{
    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var shape = options.Shape;
        var (B, T, H, d) = (shape.Batch, shape.Length, shape.Heads, shape.Hidden / shape.Heads);
        using var scope = torch.NewDisposeScope();
        var x = Leaf(options, shape.Rows, shape.Hidden);                                            // [N, D]
        var scale = torch.ones(shape.Hidden).to(options.Dtype);                                     // [D]
        var (gate, up) = (Leaf(options, shape.Rows, shape.FeedForward), Leaf(options, shape.Rows, shape.FeedForward));
        var heads = Leaf(options, B, T, H, d);
        var (cos, sin) = (torch.randn(1, T, d), torch.randn(1, T, d));
        var (q, k, v) = (Leaf(options, B, H, T, d), Leaf(options, B, H, T, d), Leaf(options, B, H, T, d));
        var head = torch.randn(shape.Vocabulary, shape.Hidden).to(options.Dtype);                   // [V, D]
        var targets = torch.randint(shape.Vocabulary, [shape.Rows]);
        var router = torch.randn(TrainingStep.Experts, shape.Hidden);                               // [E, D]
        foreach (var measurement in Pair(options, "RMSNorm", () => Fused.rms_norm(x, scale, 1e-5), x)
            .Concat(Pair(options, "SwiGLU", () => Fused.swiglu(gate, up), gate))
            .Concat(Pair(options, "rotary", () => Fused.rotary(heads, cos, sin), heads))
            .Concat(Pair(options, "causal attention", () => Fused.causal_attention(q, k, v, null, 0.125), q))
            .Concat(Pair(options, "top-2 router", () => Fused.topk_softmax(x, router, new(2, true)).Gates, x))
            .Concat(Pair(options, "head with cross-entropy", () => Fused.linear_cross_entropy(x, head, targets), x)))
            yield return measurement;
    }

    private static IEnumerable<Measurement> Pair(
        BenchmarkOptions options, string name, Func<Tensor> operation, Tensor input)
    {
        using var scope = torch.NewDisposeScope();
        var slopes = torch.randn_like(operation());
        var seconds = Rounds.Seconds(options.Rounds, () => Run(true), () => Run(false));
        var label = $"{name} {input.dtype.Name()} [{string.Join(", ", input.shape)}]";
        yield return Measurement.Of(label, "ms", seconds[0].Select(s => 1e3 * s), "");
        yield return Measurement.Of(
            "  composed over fused", "x", seconds[1].Zip(seconds[0], (c, f) => c / f), "above 1: fusing pays");

        void Run(bool fused)
        {
            using var step = torch.NewDisposeScope();
            Kernels.Enabled = fused;
            try
            {
                Gradients.backward(operation(), slopes, retain_graph: true);
            }
            finally
            {
                Kernels.Enabled = true;
            }
        }
    }

    private static Tensor Leaf(BenchmarkOptions options, params long[] shape) =>
        PassedOn(torch.randn(shape).to(options.Dtype).detach().requires_grad_());

    /// <summary>The tensor as the output of an operation whose gradient ends there, as it passes on in a model: a leaf
    /// would keep a copy of each.</summary>
    internal static Tensor PassedOn(Tensor leaf) => new Inner().Apply(leaf);

    private sealed class Inner : AutogradFunction
    {
        protected override Tensor[] Forward(Tensor?[] inputs) => [inputs[0]!.clone()];

        protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) => [null];
    }
}
