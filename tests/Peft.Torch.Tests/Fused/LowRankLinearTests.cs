namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class LowRankLinearTests : IDisposable
{
    private const long N = 70, D = 24, O = 40, R = 3;
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(1);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    [Fact]
    public void Gradients_of_every_input_match_finite_differences()
    {
        var weight = Check.Leaf(_random, ScalarType.Float64, 3, 4).detach();
        Check.Gradients(
            t => F.low_rank_linear(t[0], weight, t[1], t[2], t[3], 1.7),
            [Check.Leaf(_random, ScalarType.Float64, 5, 4), Check.Leaf(_random, ScalarType.Float64, 3),
                Check.Leaf(_random, ScalarType.Float64, 5, 2), Check.Leaf(_random, ScalarType.Float64, 3, 2)]);
    }

    [Theory]
    [InlineData(ScalarType.Float64, 1e-12)]
    [InlineData(ScalarType.Float32, 1e-4)]
    [InlineData(ScalarType.BFloat16, 0.05)]
    public void It_is_the_sum_of_two_products(ScalarType dtype, double tolerance)
    {
        var master = dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var weight = Check.Normal(_random, dtype, O, D);
        Tensor[] inputs =
        [
            Check.Leaf(_random, dtype, N, D), Check.Leaf(_random, dtype, O), Check.Leaf(_random, master, N, R),
            Check.Leaf(_random, master, O, R),
        ];
        Check.Same(
            t => F.low_rank_linear(t[0], weight, t[1], t[2], t[3], 0.5),
            t => t[0].Times(weight.t()) + t[1] + (t[2].to(dtype).Times(t[3].to(dtype).t()) * 0.5), inputs, tolerance);
        Assert.True(F.low_rank_linear(inputs[0], weight, inputs[1], inputs[2], torch.zeros_like(inputs[3]), 2)
            .SameAs(F.linear(inputs[0], weight, inputs[1])));
    }

    [Fact]
    public void Shapes_that_do_not_meet_are_named()
    {
        var x = Check.Normal(_random, ScalarType.Float32, 2, 3, 4);
        var weight = Check.Normal(_random, ScalarType.Float32, 5, 4);
        Assert.Equal(
            "hidden [5, 2] does not have one row for each row of x [2, 3, 4]",
            Assert.Throws<ArgumentException>(() => F.low_rank_linear(
                x, weight, null, torch.ones([5, 2]), torch.ones([5, 2]), 1)).Message);
        Assert.Equal(
            "b [5, 3] does not meet weight [5, 4] and hidden [6, 2]; b is [O, R]",
            Assert.Throws<ArgumentException>(() => F.low_rank_linear(
                x, weight, null, torch.ones([6, 2]), torch.ones([5, 3]), 1)).Message);
    }
}
