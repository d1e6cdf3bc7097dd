namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class LoraMixtureLinearTests : IDisposable
{
    private const long N = 5, D = 4, O = 3, C = 6;
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(1);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    private static Tensor Composed(
        Tensor x, Tensor w, Tensor? bias, Tensor a, Tensor b, Tensor? gates, double scale, Tensor? lora = null)
    {
        var h = (lora ?? x).Times(a.t());
        if (gates is not null) h = h * gates.repeat_interleave(h.size(-1) / gates.size(-1), -1);
        var y = x.Times(w.t()) + h.Times(b.t()) * scale;
        return bias is null ? y : y + bias;
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(6)]
    public void Gradients_of_every_input_match_finite_differences(long gates)
    {
        Tensor[] inputs =
        [
            Check.Leaf(_random, ScalarType.Float64, N, D), Check.Leaf(_random, ScalarType.Float64, O, D),
            Check.Leaf(_random, ScalarType.Float64, O),
            Check.Leaf(_random, ScalarType.Float64, C, D), Check.Leaf(_random, ScalarType.Float64, O, C),
            Check.Leaf(_random, ScalarType.Float64, N, Math.Max(1, gates)),
            Check.Leaf(_random, ScalarType.Float64, N, D),
        ];
        if (gates == 0) inputs = [.. inputs.Where((_, i) => i != 5)];
        Check.Gradients(
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], gates == 0 ? null : t[5], 1.7, t[^1]), inputs);
        Check.Gradients(
            t => F.lora_mixture_linear(t[0], t[1], null, t[3], t[4], gates == 0 ? null : t[5], 1.7), inputs[..^1]
            .Where((_, i) => i != 2)
            .Aggregate(new List<Tensor>(),
            (all, t) => { if (all.Count == 2) all.Add(inputs[2].detach()); all.Add(t); return all; }).ToArray());
    }

    [Theory]
    [InlineData(ScalarType.Float64, 1e-12)]
    [InlineData(ScalarType.Float32, 1e-5)]
    [InlineData(ScalarType.BFloat16, 0.05)]
    public void The_mixture_alone_is_what_is_added_to_a_base_of_zeros(ScalarType dtype, double tolerance)
    {
        var master = dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var selected = torch.rand([N, 3], generator: _random).gt(0.4);
        Tensor[] inputs =
        [
            Check.Leaf(_random, dtype, N, D), Check.Leaf(_random, master, C, D), Check.Leaf(_random, master, O, C),
            Check.Leaf(_random, master, N, 3),
        ];
        foreach (var chosen in new[] { null, selected })
        {
            Check.Same(
                t => F.lora_mixture(t[0], t[1], t[2], t[3], 0.5, chosen),
                t => F.lora_mixture_linear(
                    t[0], torch.zeros([O, D], dtype), null, t[1], t[2], t[3], 0.5, null, chosen), inputs, tolerance);
        }

        if (dtype == ScalarType.Float64)
            Check.Gradients(t => F.lora_mixture(t[0], t[1], t[2], t[3], 0.5), inputs);
        Assert.StartsWith(
            "a [6, 4] does not meet x [5, 3]", Assert.Throws<ArgumentException>(
                () => F.lora_mixture(torch.zeros([N, O], dtype), inputs[1], inputs[2], null, 1)).Message,
            StringComparison.Ordinal);
    }

    // One a [C / G, D] for all gates: the same as that a repeated for each.
    [Theory]
    [InlineData(ScalarType.Float64, 1e-12)]
    [InlineData(ScalarType.Float32, 1e-5)]
    [InlineData(ScalarType.BFloat16, 0.05)]
    public void One_a_serves_every_gate(ScalarType dtype, double tolerance)
    {
        var master = dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        Tensor[] inputs =
        [
            Check.Leaf(_random, dtype, N, D), Check.Normal(_random, dtype, O, D), Check.Leaf(_random, master, C / 3, D),
            Check.Leaf(_random, master, O, C), Check.Leaf(_random, master, N, 3), Check.Leaf(_random, dtype, N, D),
        ];
        Check.Same(
            t => F.lora_mixture_linear(t[0], t[1], null, t[2], t[3], t[4], 0.5, t[5]),
            t => F.lora_mixture_linear(t[0], t[1], null, t[2].repeat(3, 1), t[3], t[4], 0.5, t[5]), inputs, tolerance);
        if (dtype == ScalarType.Float64)
            Check.Gradients(t => F.lora_mixture_linear(t[0], t[1], null, t[2], t[3], t[4], 0.5), inputs[..5]);
    }

    [Theory]
    [InlineData(new[] { 0 })]
    [InlineData(new[] { 3 })]
    [InlineData(new[] { 4 })]
    [InlineData(new[] { 5 })]
    [InlineData(new[] { 1 })]
    [InlineData(new[] { 2 })]
    [InlineData(new[] { 3, 4 })]
    [InlineData(new[] { 0, 5 })]
    public void Any_subset_of_inputs_may_need_gradients(int[] needing)
    {
        Tensor[] inputs =
        [
            Check.Normal(_random, ScalarType.Float64, N, D), Check.Normal(_random, ScalarType.Float64, O, D),
            Check.Normal(_random, ScalarType.Float64, O),
            Check.Normal(_random, ScalarType.Float64, C, D), Check.Normal(_random, ScalarType.Float64, O, C),
            Check.Normal(_random, ScalarType.Float64, N, 3),
        ];
        foreach (var i in needing) inputs[i].requires_grad_();
        Check.Same(
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], t[5], 0.5),
            t => Composed(t[0], t[1], t[2], t[3], t[4], t[5], 0.5), inputs, 1e-12);
    }

    [Fact]
    public void A_null_gate_equals_gates_of_one_and_no_gradient_is_asked_of_constants()
    {
        var (x, w) = (Check.Normal(_random, ScalarType.Float32, N, D), Check.Normal(_random, ScalarType.Float32, O, D));
        var (a, b) = (Check.Normal(_random, ScalarType.Float32, C, D), Check.Normal(_random, ScalarType.Float32, O, C));
        var bare = F.lora_mixture_linear(x, w, null, a, b, null, 2);
        Assert.False(bare.requires_grad);
        Check.Near(F.lora_mixture_linear(x, w, null, a, b, torch.ones([N, 2]), 2), bare, 1e-6);
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float16)]
    [InlineData(ScalarType.Float64)]
    public void Zero_b_gives_the_base_bit_for_bit(ScalarType dtype)
    {
        var master = dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        // The last of several tiles, and not a multiple of anything.
        foreach (var (rows, outputs) in new (long, long)[] { (1, 48), (3, 48), (64, 48), (300, 1000) })
        {
            var (x, w, bias) = (Check.Normal(_random, dtype, rows, 32), Check.Normal(_random, dtype, outputs, 32),
                Check.Normal(_random, dtype, outputs));
            var (a, b) = (Check.Normal(_random, master, 8, 32), torch.zeros([outputs, 8], master));
            var gates = Check.Normal(_random, master, rows, 4);
            Check.SameBits(F.lora_mixture_linear(x, w, bias, a, b, gates, 2), F.linear(x, w, bias));
            Check.SameBits(F.lora_mixture_linear(x, w, null, a, b, null, 2), F.linear(x, w));
        }
    }

    [Theory]
    [InlineData(ScalarType.BFloat16, 0.02)]
    [InlineData(ScalarType.Float16, 0.003)]
    public void Reduced_types_with_float32_masters_stay_near_float32(ScalarType dtype, double tolerance)
    {
        Tensor[] inputs =
        [
            Check.Leaf(_random, dtype, 40, 32), Check.Normal(_random, dtype, 24, 32), Check.Normal(_random, dtype, 24),
            Check.Leaf(_random, ScalarType.Float32, 16, 32), Check.Leaf(_random, ScalarType.Float32, 24, 16),
            Check.Leaf(_random, ScalarType.Float32, 40, 4),
        ];
        Check.Same(
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], t[5], 0.5),
            t => Composed(
                t[0].to(ScalarType.Float32), t[1].to(ScalarType.Float32), t[2].to(ScalarType.Float32), t[3], t[4], t[5],
                0.5), inputs, tolerance, sameType: false);
    }

    [Fact]
    public void Leading_dimensions_and_transposed_inputs_are_taken()
    {
        var x = Check.Leaf(_random, ScalarType.Float32, D, 2, 3);
        Tensor[] inputs =
        [
            x, Check.Normal(_random, ScalarType.Float32, D, O), Check.Leaf(_random, ScalarType.Float32, D, C),
            Check.Leaf(_random, ScalarType.Float32, C, O),
            Check.Leaf(_random, ScalarType.Float32, 2, 3, 3),
        ];
        Check.Same(
            t => F.lora_mixture_linear(t[0].permute(1, 2, 0), t[1].t(), null, t[2].t(), t[3].t(), t[4], 1.5),
            t => Composed(t[0].permute(1, 2, 0), t[1].t(), null, t[2].t(), t[3].t(), t[4], 1.5), inputs, 1e-5);
    }

    [Fact]
    public void A_row_with_zero_gates_gets_the_base_and_a_batch_of_no_rows_passes()
    {
        var (x, w) = (Check.Normal(_random, ScalarType.Float64, N, D), Check.Normal(_random, ScalarType.Float64, O, D));
        var (a, b) = (Check.Leaf(_random, ScalarType.Float64, C, D), Check.Leaf(_random, ScalarType.Float64, O, C));
        Check.Near(F.lora_mixture_linear(x, w, null, a, b, torch.zeros([N, 3], ScalarType.Float64), 2), F.linear(x, w),
            0);
        var none = F.lora_mixture_linear(x.narrow(0, 0, 0), w, null, a, b, torch.zeros([0, 3], ScalarType.Float64), 2);
        Assert.Equal(new long[] { 0, O }, none.shape);
        none.sum().backward();
        Check.Near(a.grad!, torch.zeros([C, D], ScalarType.Float64), 0);
    }

    [Fact]
    public void The_result_may_be_changed_in_place_and_a_second_derivative_is_refused()
    {
        var (x, w) =
            (Check.Leaf(_random, ScalarType.Float64, 2, 3, D), Check.Normal(_random, ScalarType.Float64, O, D));
        var (a, b) = (Check.Leaf(_random, ScalarType.Float64, C, D), Check.Leaf(_random, ScalarType.Float64, O, C));
        F.lora_mixture_linear(x, w, null, a, b, null, 1).add_(torch.ones([O], ScalarType.Float64)).sum().backward();
        Assert.ThrowsAny<Exception>(() =>
            F.lora_mixture_linear(x, w, null, a, b, null, 1).sum().backward(create_graph: true));
    }

    [Fact]
    public void Shapes_that_do_not_meet_are_named()
    {
        var (x, w) = (Check.Normal(_random, ScalarType.Float32, N, D), Check.Normal(_random, ScalarType.Float32, O, D));
        var (a, b) = (Check.Normal(_random, ScalarType.Float32, C, D), Check.Normal(_random, ScalarType.Float32, O, C));
        string Fails(Action act) => Assert.Throws<ArgumentException>(act).Message;
        Assert.Contains(
            "a is [C, D]", Fails(() => F.lora_mixture_linear(x, w, null, b, b, null, 1)), StringComparison.Ordinal);
        Assert.Contains(
            "b is [O, C]", Fails(() => F.lora_mixture_linear(x, w, null, a, a, null, 1)), StringComparison.Ordinal);
        Assert.Contains(
            "C a multiple of G", Fails(() => F.lora_mixture_linear(x, w, null, a, b, torch.ones([N, 4]), 1)),
            StringComparison.Ordinal);
        Assert.Contains(
            "one row for each row", Fails(() => F.lora_mixture_linear(x, w, null, a, b, torch.ones([2, 3]), 1)),
            StringComparison.Ordinal);
        Assert.Contains(
            "bias is [O]", Fails(() => F.lora_mixture_linear(x, w, torch.ones([2]), a, b, null, 1)),
            StringComparison.Ordinal);
    }
}
