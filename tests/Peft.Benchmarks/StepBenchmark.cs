namespace Peft.Benchmarks;

/// <summary>Where the time of a training step of plain LoRA goes: each operation alone, forward and backward, as often
/// as a step runs it, beside the step itself in the same rounds.</summary>
internal static class StepBenchmark
{
    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var shape = options.Shape;
        using var step = TrainingStep.Lora(options);
        using var scope = torch.NewDisposeScope();
        var parts = Parts(options, shape).ToList();
        var seconds = Rounds.Seconds(options.Rounds, [step.Run, .. parts.Select(part => part.Run)]);
        yield return Measurement.Of(
            $"training step, LoRA r={TrainingStep.Rank}, {options.Dtype}", "ms", seconds[0].Select(s => 1e3 * s), "");
        var rest = Enumerable.Repeat(100.0, options.Rounds).ToArray();
        foreach (var (part, own) in parts.Zip(seconds.Skip(1)))
        {
            var shares = own.Zip(seconds[0], (s, whole) => 100 * part.Times * s / whole).ToArray();
            rest = [.. rest.Zip(shares, (left, share) => left - share)];
            yield return Measurement.Of($"  {part.Name}", "%", shares, $"of the step; {part.Times} times");
        }

        yield return Measurement.Of(
            "  all else", "%", rest, "optimizer, clipping, sums of gradients, between operations");
    }

    private static IEnumerable<(string Name, int Times, Action Run)> Parts(BenchmarkOptions options, ModelShape shape)
    {
        var (B, T, H, d) = (shape.Batch, shape.Length, shape.Heads, shape.Hidden / shape.Heads);
        foreach (var linear in shape.Linears.GroupBy(linear => linear))
        {
            var (D, O) = linear.Key;
            var (x, weight) = (Input(options, shape.Rows, D), torch.randn(O, D).to(options.Dtype));
            var (a, b) = (torch.randn(TrainingStep.Rank, D).requires_grad_(), torch.randn(O, TrainingStep.Rank)
                .requires_grad_());
            yield return ($"linear layers {D} to {O} with LoRA", linear.Count() * shape.Layers,
                Once(() => Fused.lora_mixture_linear(x, weight, null, a, b, null, 2), a, b));
        }

        yield return ("attention", shape.Layers, Attention(options, shape));
        var (hidden, scale) = (Input(options, shape.Rows, shape.Hidden), torch.ones(shape.Hidden).to(options.Dtype));
        yield return ("norms", (2 * shape.Layers) + 1, Once(() => Fused.rms_norm(hidden, scale, 1e-5)));
        var (gate, up) = (Input(options, shape.Rows, shape.FeedForward), Input(options, shape.Rows, shape.FeedForward));
        yield return ("SwiGLU", shape.Layers, Once(() => Fused.swiglu(gate, up)));
        var (heads, cos, sin) = (Input(options, B, T, H, d), torch.randn(1, T, d), torch.randn(1, T, d));
        yield return ("rotary", 2 * shape.Layers, Once(() => Fused.rotary(heads, cos, sin)));
        var (head, targets) = (torch.randn(shape.Vocabulary, shape.Hidden).to(options.Dtype),
            torch.randint(shape.Vocabulary, [shape.Rows]));
        yield return ("head with its loss", 1, Once(() => Fused.linear_cross_entropy(hidden, head, targets)));
    }

    /// <summary>The attention of one block, forward and backward.</summary>
    internal static Action Attention(BenchmarkOptions options, ModelShape shape)
    {
        var (B, T, H, d) = (shape.Batch, shape.Length, shape.Heads, shape.Hidden / shape.Heads);
        var (q, k, v) = (Input(options, B, H, T, d), Input(options, B, H, T, d), Input(options, B, H, T, d));
        return Once(() => Fused.causal_attention(q, k, v, null, 1 / Math.Sqrt(d)));
    }

    private static Action Once(Func<Tensor> operation, params Tensor[] learned)
    {
        var slopes = torch.randn_like(operation());
        return () =>
        {
            using var scope = torch.NewDisposeScope();
            Gradients.backward(operation(), slopes, retain_graph: true);
            foreach (var parameter in learned)
                parameter.grad = null;
        };
    }

    private static Tensor Input(BenchmarkOptions options, params long[] shape) =>
        FusedBenchmark.PassedOn(torch.randn(shape).to(options.Dtype).detach().requires_grad_());
}
