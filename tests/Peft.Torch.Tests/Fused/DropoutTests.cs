namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class DropoutTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(3);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    private static Generator Seeded(ulong seed) => new(seed);

    private static Tensor Mask(ulong seed, double p, params long[] shape)
    {
        using var generator = Seeded(seed);
        return F.dropout(torch.ones(shape), p, generator).ne(0);
    }

    // The kernel's rule once more, a number at a time.
    private static float[] Factors(ulong seed, double p, int count)
    {
        using var generator = Seeded(seed);
        var key = (ulong)torch.randint(0, long.MaxValue, [1], ScalarType.Int64, generator: generator).item<long>();
        return [.. Enumerable.Range(0, count).Select(place =>
        {
            var h = (uint)place ^ (uint)key;
            h ^= h >> 16;
            h = (h * 0x7feb352du) + (uint)(key >> 32);
            h ^= h >> 15;
            h *= 0x846ca68bu;
            h ^= h >> 16;
            return h / 4294967296.0 >= p ? (float)(1 / (1 - p)) : 0;
        })];
    }

    [Theory]
    [InlineData(ScalarType.Float32, 1000, 7)]  // the last few of a row, and a share of a thread
    [InlineData(ScalarType.Float32, 211, 311)]
    [InlineData(ScalarType.BFloat16, 3, 5)]
    [InlineData(ScalarType.BFloat16, 211, 311)]
    public void Values_and_gradients_have_the_factors_of_the_hash(ScalarType dtype, long rows, long columns)
    {
        var x = Check.Leaf(_random, dtype, rows, columns);
        using var generator = Seeded(5);
        var y = F.dropout(x, 0.3, generator);
        var slopes = Check.Normal(_random, dtype, rows, columns);
        var gradient = Peft.Torch.Autograd.Gradients.grad([y], [x], [slopes])[0]!;

        var factors = torch.tensor(Factors(5, 0.3, (int)(rows * columns)), [rows, columns]);
        Check.SameBits(y, (x.detach().to(ScalarType.Float32) * factors).to(dtype));
        Check.SameBits(gradient, (slopes.to(ScalarType.Float32) * factors).to(dtype));
    }

    [Theory]
    [InlineData(0.05)]
    [InlineData(0.5)]
    [InlineData(0.9)]
    public void As_many_go_as_asked_for_whatever_went_beside_above_or_in_the_call_before(double p)
    {
        const long Side = 1024;
        var (mask, next) = (Mask(1, p, Side, Side), Mask(2, p, Side, Side));
        var expected = (1 - p) * (1 - p);
        // Five deviations of a mean over a million draws.
        double Bound(double q) => 5 * Math.Sqrt(q * (1 - q) / (Side * (Side - 1)));
        double Share(Tensor kept) => kept.to(ScalarType.Float64).mean().item<double>();

        Assert.InRange(Share(mask), 1 - p - Bound(p), 1 - p + Bound(p));
        Assert.InRange(
            Share(mask.narrow(1, 0, Side - 1).logical_and(mask.narrow(1, 1, Side - 1))),
            expected - Bound(expected), expected + Bound(expected));
        Assert.InRange(
            Share(mask.narrow(0, 0, Side - 1).logical_and(mask.narrow(0, 1, Side - 1))),
            expected - Bound(expected), expected + Bound(expected));
        Assert.InRange(Share(mask.logical_and(next)), expected - Bound(expected), expected + Bound(expected));
        // A column or a row is no more often dropped than chance allows (sums of 1024, six deviations).
        foreach (var sums in new[] { mask.sum(0L), mask.sum(1L) })
            Assert.InRange(
                (sums.to(ScalarType.Float64) - ((1 - p) * Side)).abs().max().item<double>(), 0,
                6 * Math.Sqrt(p * (1 - p) * Side));
    }

    [Fact]
    public void The_generator_says_which_go_and_each_call_goes_on_from_there()
    {
        using var generator = Seeded(1);
        var first = F.dropout(torch.ones(64, 64), 0.5, generator).ne(0);
        var second = F.dropout(torch.ones(64, 64), 0.5, generator).ne(0);

        Check.SameBits(first, Mask(1, 0.5, 64, 64));
        Assert.NotEqual(0, first.ne(second).sum().item<long>());
        Assert.NotEqual(0, first.ne(Mask(2, 0.5, 64, 64)).sum().item<long>());
    }

    [Fact]
    public void Nothing_or_everything_may_go_and_what_is_not_a_number_is_kept()
    {
        using var generator = Seeded(1);
        var x = torch.tensor([1f, float.NaN, 3f]);
        Check.SameBits(F.dropout(x, 0, generator), x);
        Check.SameBits(F.dropout(x, 1, generator), torch.zeros(3));
        var most = F.dropout(torch.full([1000], float.NaN), 0.5, generator);
        Assert.True(most.isnan().all().item<bool>());
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void Some_lines_of_a_tensor_lose_what_they_lose_in_the_whole(ScalarType dtype)
    {
        long[] lines = [3, 60, 4, 211];
        var whole = Check.Leaf(_random, dtype, 212, 37);
        var some = whole.detach()[torch.tensor(lines)].requires_grad_();
        using var first = Seeded(9);
        using var second = Seeded(9);
        var (y, part) = (F.dropout(whole, 0.4, first), F.dropout(some, 0.4, second, torch.tensor(lines)));
        var slopes = Check.Normal(_random, dtype, 212, 37);
        var gradient = Peft.Torch.Autograd.Gradients.grad([y], [whole], [slopes])[0]!;
        var own = Peft.Torch.Autograd.Gradients.grad([part], [some], [slopes[torch.tensor(lines)]])[0]!;

        Check.SameBits(part, y[torch.tensor(lines)]);
        Check.SameBits(own, gradient[torch.tensor(lines)]);
        // Each call takes as much of the generator, however many lines there are.
        Check.SameBits(torch.rand(3, generator: first), torch.rand(3, generator: second));
    }

    [Fact]
    public void Composed_it_draws_each_number()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 40, 25);
        using var generator = Seeded(1);
        var y = F.dropout(x, 0.25, generator);
        var gradient = Peft.Torch.Autograd.Gradients.grad([y], [x], [torch.ones_like(y)])[0]!;

        var factors = torch.where(y.ne(0), 4.0 / 3, 0.0);
        Check.Near(y, x.detach() * factors, 1e-15);
        Check.Near(gradient, factors, 1e-15);
        Assert.InRange(factors.ne(0).sum().item<long>(), 690, 810);
    }
}
