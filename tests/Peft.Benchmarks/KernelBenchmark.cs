namespace Peft.Benchmarks;

/// <summary>Attention, and the head with its loss: by our kernels and composed of libtorch's operations, beside their
/// products at the rate of a large one in the same rounds.</summary>
internal static class KernelBenchmark
{
    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var shape = options.Shape;
        using var scope = torch.NewDisposeScope();
        var (x, w) = (Random(shape.Rows, shape.Hidden), Random(shape.FeedForward, shape.Hidden));
        var headSize = shape.Hidden / shape.Heads;
        Tensor[] heads =
            [.. Enumerable.Range(0, 3)
            .Select(_ => Random(shape.Batch, shape.Length, shape.Heads, headSize).detach().requires_grad_())];
        var mixedGradient = Random(shape.Batch, shape.Heads, shape.Length, headSize);
        var hidden = Random(shape.Rows, shape.Hidden).detach().requires_grad_();
        var words = Random(shape.Vocabulary, shape.Hidden);
        var targets = torch.randint(0, shape.Vocabulary, [shape.Rows]);

        void Multiply()
        {
            using var off = torch.no_grad();
            torch.nn.functional.linear(x, w);
        }

        void Attend() => Gradients.backward(Fused.causal_attention(
            heads[0].transpose(1, 2), heads[1].transpose(1, 2), heads[2].transpose(1, 2), null,
            1 / Math.Sqrt(headSize)), mixedGradient);

        void Loss() => Gradients.backward(Fused.linear_cross_entropy(hidden, words, targets).mean());

        Tensor[] leaves = [.. heads, hidden];
        var seconds = Rounds.Seconds(options.Rounds,
            Once(Attend, leaves), Once(() => Composed(Attend), leaves), Once(Loss, leaves),
            Once(() => Composed(Loss), leaves),
            Once(Multiply, leaves));
        var rate = seconds[4].Select(s => (double)shape.Rows * shape.Hidden * shape.FeedForward / s).ToArray();
        // Seven products of half a square of scores; two of the head.
        var attention = 3.5 * shape.Batch * shape.Length * shape.Length * shape.Hidden;
        var head = 2.0 * shape.Rows * shape.Hidden * shape.Vocabulary;
        return
        [
            .. Lines($"attention {shape.Batch}x{shape.Length}, {shape.Heads} heads of {headSize}", seconds[0],
            seconds[1], attention, rate),
            .. Lines($"head and loss [{shape.Rows}, {shape.Hidden}] x {shape.Vocabulary}", seconds[2], seconds[3], head,
            rate),
        ];

        Tensor Random(params long[] sizes) => torch.randn(sizes).to(options.Dtype);
    }

    private static IEnumerable<Measurement> Lines(
        string name, double[] kernel, double[] composed, double work, double[] rate)
    {
        yield return Measurement.Of(name + ", forward and backward", "ms", kernel.Select(s => 1e3 * s), "");
        yield return Measurement.Of(
            "  its multiply-adds as share of the GEMM rate", "%", kernel.Zip(rate, (s, r) => 100 * work / s / r),
            "100: nothing but GEMMs");
        yield return Measurement.Of(
            "  composed of single operations over fused", "x", composed.Zip(kernel, (c, f) => c / f),
            "above 1: fusing pays");
    }

    private static void Composed(Action operation)
    {
        Kernels.Enabled = false;
        try
        {
            operation();
        }
        finally
        {
            Kernels.Enabled = true;
        }
    }

    private static Action Once(Action operation, Tensor[] leaves) => () =>
    {
        using var scope = torch.NewDisposeScope();
        operation();
        foreach (var leaf in leaves)
            leaf.grad = null;
    };
}
