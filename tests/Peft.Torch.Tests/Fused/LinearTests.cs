namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class LinearTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(5);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    private static Tensor Composed(Tensor x, Tensor weight, Tensor? bias)
    {
        var product = torch.einsum("...d,od->...o", x, weight);
        return bias is null ? product : product + bias;
    }

    [Fact]
    public void Gradients_of_every_input_match_finite_differences() => Check.WithAndWithoutKernels(() =>
        Check.Gradients(t => F.linear(t[0], t[1], t[2]),
        [
            Check.Leaf(_random, ScalarType.Float64, 2, 3, 4), Check.Leaf(_random, ScalarType.Float64, 5, 4),
            Check.Leaf(_random, ScalarType.Float64, 5),
        ]));

    [Theory]
    [InlineData(ScalarType.Float32, 1, 3e-6)]
    [InlineData(ScalarType.Float32, 4, 3e-6)]
    [InlineData(ScalarType.Float32, 7, 3e-6)]
    [InlineData(ScalarType.Float32, 16, 3e-6)]
    [InlineData(ScalarType.Float32, 17, 3e-6)]
    [InlineData(ScalarType.Float32, 600, 3e-6)]
    [InlineData(ScalarType.BFloat16, 1, 0.02)]
    [InlineData(ScalarType.BFloat16, 7, 0.02)]
    [InlineData(ScalarType.BFloat16, 16, 0.02)]
    [InlineData(ScalarType.BFloat16, 600, 0.02)]
    [InlineData(ScalarType.Float16, 7, 0.003)]
    public void Any_number_of_rows_and_tiles_gives_the_product(ScalarType dtype, long rows, double tolerance)
    {
        Tensor[] inputs = [
            Check.Leaf(_random, dtype, rows, 70), Check.Leaf(_random, dtype, 900, 70), Check.Leaf(_random, dtype, 900)];
        Check.Same(t => F.linear(t[0], t[1], t[2]),
            t => Composed(t[0].to(ScalarType.Float64), t[1].to(ScalarType.Float64), t[2].to(ScalarType.Float64)),
            inputs, tolerance, sameType: false);
    }

    [Theory]
    [InlineData(ScalarType.Float32, 64, 48)]
    [InlineData(ScalarType.Float32, 70, 51)]
    [InlineData(ScalarType.BFloat16, 70, 51)]
    public void A_row_of_few_gives_the_same_bits_whatever_stands_beside_it(ScalarType dtype, long inner, long outputs)
    {
        if (!System.Runtime.Intrinsics.Vector512.IsHardwareAccelerated)
            return; // a narrower processor's rows are MKL's
        using var off = torch.no_grad();
        var (x, weight) = (Check.Normal(_random, dtype, 16, inner), Check.Normal(_random, dtype, outputs, inner));
        var together = F.linear(x, weight);
        for (var row = 0; row < 16; row++)
        {
            var alone = F.linear(x.narrow(0, row, 1), weight);
            Check.SameBits(alone, together.narrow(0, row, 1));
        }
    }

    [Fact]
    public void A_frozen_layer_gives_its_input_alone_a_gradient()
    {
        Tensor[] inputs = [
            Check.Leaf(_random, ScalarType.Float32, 6, 4), Check.Normal(_random, ScalarType.Float32, 3, 4)];
        Check.Same(t => F.linear(t[0], t[1]), t => Composed(t[0], t[1], null), inputs, 3e-6);
        Assert.False(F.linear(inputs[0].detach(), inputs[1]).requires_grad);
    }

    [Fact]
    public void No_tensor_stays_behind()
    {
        var (x, w) =
            (Check.Leaf(_random, ScalarType.BFloat16, 300, 32), Check.Normal(_random, ScalarType.BFloat16, 48, 32));
        var (a, b) = (Check.Leaf(_random, ScalarType.Float32, 8, 32), Check.Leaf(_random, ScalarType.Float32, 48, 8));
        var heads = Check.Leaf(_random, ScalarType.Float32, 1, 2, 70, 8);
        var targets = torch.randint(0, 48, [300], generator: _random);
        Step();
        var before = LiveTensors.Settled();
        for (var i = 0; i < 3; i++)
            Step();
        Assert.Equal(before, LiveTensors.Settled());

        void Step()
        {
            using var scope = torch.NewDisposeScope();
            var y = F.lora_mixture_linear(x, w, null, a, b, null, 2) + F.linear(x, w);
            var words = torch.eye(48).to(ScalarType.BFloat16);
            var loss = F.linear_cross_entropy(F.lora_mixture_linear(x, w, null, a, b, null, 2), words, targets);
            Gradients.backward(y.sum() + loss.sum() + F.causal_attention(heads, heads, heads, null, 1).sum());
            (x.grad, a.grad, b.grad, heads.grad) = (null, null, null, null);
        }
    }

    [Fact]
    public void Shapes_and_types_that_do_not_meet_are_named()
    {
        var (x, w) = (Check.Normal(_random, ScalarType.Float32, 2, 4), Check.Normal(_random, ScalarType.Float32, 3, 4));
        string Fails(Action act) => Assert.Throws<ArgumentException>(act).Message;
        Assert.Contains(
            "x [2, 4] does not meet weight [4, 3]", Fails(() => F.linear(x, w.t())), StringComparison.Ordinal);
        Assert.Contains("bias is [O]", Fails(() => F.linear(x, w, torch.ones(4))), StringComparison.Ordinal);
        Assert.Contains(
            "x Float32, weight BFloat16", Fails(() => F.linear(x, w.to(ScalarType.BFloat16))),
            StringComparison.Ordinal);
    }
}
