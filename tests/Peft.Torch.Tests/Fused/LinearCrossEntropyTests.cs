namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class LinearCrossEntropyTests : IDisposable
{
    private const long M = 7, D = 4, V = 11;
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(2);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    private Tensor Targets(long rows, long words) => torch.randint(0, words, [rows], generator: _random);

    private static Tensor Composed(Tensor hidden, Tensor weight, Tensor targets, double softcap = 0)
    {
        var logits = hidden.Times(weight.t());
        if (softcap > 0) logits = (logits / softcap).tanh() * softcap;
        return torch.nn.functional.cross_entropy(logits, targets, reduction: torch.nn.Reduction.None);
    }

    [Theory]
    [InlineData(0, true, 0)]
    [InlineData(0, false, 0)]
    [InlineData(1, true, 0)]
    [InlineData(3, false, 0)]
    [InlineData(3, true, 2)]
    [InlineData(0, false, 2)]
    public void Gradients_match_finite_differences(int chunk, bool weightToo, double softcap) =>
        Check.WithAndWithoutKernels(() =>
    {
        var targets = Targets(M, V);
        var weight = Check.Normal(_random, ScalarType.Float64, V, D).requires_grad_(weightToo);
        Check.Gradients(
            t => F.linear_cross_entropy(t[0], t[1], targets, chunk, softcap),
            [Check.Leaf(_random, ScalarType.Float64, M, D), weight]);
    });

    [Theory]
    [InlineData(0, true)]
    [InlineData(1, false)]
    [InlineData(3, true)]
    [InlineData(100, false)]
    public void Any_chunk_size_gives_the_composed_result(int chunk, bool weightToo) => Check.WithAndWithoutKernels(() =>
    {
        var targets = Targets(M, V);
        var weight = Check.Normal(_random, ScalarType.Float32, V, D).requires_grad_(weightToo);
        Check.Same(t => F.linear_cross_entropy(t[0], t[1], targets, chunk), t => Composed(t[0], t[1], targets),
            [Check.Leaf(_random, ScalarType.Float32, M, D), weight], 2e-6);
    });

    [Theory]
    [InlineData(true, 0)]
    [InlineData(false, 0)]
    [InlineData(false, 5)]
    public void Several_blocks_of_the_vocabulary_give_the_composed_result(bool weightToo, double softcap)
    {
        // Blocks of 256 rows by 1024 words: two by three, the last words fewer.
        var targets = Targets(512, 2101);
        var weight = Check.Normal(_random, ScalarType.Float32, 2101, 2).requires_grad_(weightToo);
        var hidden = (Check.Normal(_random, ScalarType.Float32, 512, 2) * 5).detach().requires_grad_();
        Check.WithAndWithoutKernels(() => Check.Same(
            t => F.linear_cross_entropy(t[0], t[1], targets, softcap: softcap),
            t => Composed(t[0].to(ScalarType.Float64), t[1].to(ScalarType.Float64), targets, softcap), [hidden, weight],
            1e-4, sameType: false));
    }

    [Fact]
    public void Only_the_weight_may_need_a_gradient()
    {
        var targets = Targets(M, V);
        Check.Same(t => F.linear_cross_entropy(t[0], t[1], targets), t => Composed(t[0], t[1], targets),
            [Check.Normal(_random, ScalarType.Float64, M, D), Check.Leaf(_random, ScalarType.Float64, V, D)], 1e-12);
    }

    [Fact]
    public void Reduced_types_give_float32_losses()
    {
        var targets = Targets(40, 300);
        var hidden = Check.Leaf(_random, ScalarType.BFloat16, 40, 16);
        var weight = Check.Leaf(_random, ScalarType.BFloat16, 300, 16);
        Assert.Equal(ScalarType.Float32, F.linear_cross_entropy(hidden, weight, targets).dtype);
        Check.Same(t => F.linear_cross_entropy(t[0], t[1], targets),
            t => Composed(t[0].to(ScalarType.Float32), t[1].to(ScalarType.Float32), targets), [hidden, weight], 0.01);
        Check.Same(t => F.linear_cross_entropy(t[0], t[1], targets),
            t => Composed(t[0].to(ScalarType.Float32), t[1].to(ScalarType.Float32), targets),
            [hidden, weight.detach()], 0.01);
    }

    [Fact]
    public void Large_logits_neither_overflow_nor_vanish()
    {
        var hidden = torch.tensor(new float[] { 1000, -1000, 1 }, [3, 1]).requires_grad_();
        var weight = torch.tensor(new float[] { 1, -1 }, [2, 1]);
        var loss = F.linear_cross_entropy(hidden, weight, torch.tensor(new long[] { 1, 1, 0 }));
        Assert.Equal(2000f, loss.data<float>().ToArray()[0]);
        Assert.Equal(0f, loss.data<float>().ToArray()[1]);
        loss.sum().backward();
        Check.Near(hidden.grad!, torch.tensor(new[] { 2f, 0f, -2f / (1 + MathF.Exp(2)) }, [3, 1]), 1e-6);
    }

    [Fact]
    public void A_row_whose_loss_does_not_count_gets_no_gradient_and_no_rows_pass()
    {
        var hidden = Check.Leaf(_random, ScalarType.Float32, M, D);
        var weight = Check.Normal(_random, ScalarType.Float32, V, D);
        (F.linear_cross_entropy(hidden, weight, Targets(M, V)) * torch.tensor(new float[] { 1, 0, 1, 0, 1, 1, 1 }))
            .sum().backward();
        Check.Near(hidden.grad!.select(0, 1), torch.zeros([D]), 0);
        Assert.Equal(0, F.linear_cross_entropy(hidden.narrow(0, 0, 0), weight, torch.zeros([0], torch.int64)).numel());
    }

    [Theory]
    [InlineData(-100)]
    [InlineData(V)]
    public void A_target_outside_the_vocabulary_is_named(long target)
    {
        var error = Assert.Throws<ArgumentException>(() => F.linear_cross_entropy(
            Check.Normal(_random, ScalarType.Float32, 2, D), Check.Normal(_random, ScalarType.Float32, V, D),
            torch.tensor(new[] { 0, target })));
        Assert.Contains($"targets hold {target}; allowed are 0 to 10", error.Message, StringComparison.Ordinal);
    }
}
