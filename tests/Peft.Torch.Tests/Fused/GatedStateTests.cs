namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class GatedStateTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(11);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    [Theory]
    [InlineData(64)]
    [InlineData(37)]
    [InlineData(5)]
    public void A_step_and_its_gradients_are_those_of_its_formula(int size) => Check.WithAndWithoutKernels(() =>
        Check.Same(t => F.gated_state(t[0], t[1], t[2]), t => Steps(t[0], t[1], t[2]),
            [
                Check.Leaf(_random, ScalarType.Float32, 203, 3 * size),
                Check.Leaf(_random, ScalarType.Float32, 203, 3 * size),
                Check.Leaf(_random, ScalarType.Float32, 203, size),
            ], 2e-6, sameType: false));

    [Fact]
    public void Gradients_of_float64_match_finite_differences() => Check.Gradients(
        t => F.gated_state(t[0], t[1], t[2]),
        [
            Check.Leaf(_random, ScalarType.Float64, 2, 9), Check.Leaf(_random, ScalarType.Float64, 2, 9),
            Check.Leaf(_random, ScalarType.Float64, 2, 3),
        ]);

    [Fact]
    public void Open_and_closed_gates_neither_overflow_nor_vanish() => Check.WithAndWithoutKernels(() =>
    {
        // Two rows: nothing is kept of the state, all of it.
        var given = torch.tensor(new float[] { 1000, -1000, 1000, -1000, 1000, -1000 }, [2, 3]).requires_grad_();
        var (held, state) = (torch.zeros(2, 3), torch.tensor(new float[] { 0.25f, 0.25f }, [2, 1]));
        var next = F.gated_state(given, held, state);
        Check.Near(next, torch.tensor(new float[] { 1, 0.25f }, [2, 1]), 1e-7);
        Peft.Torch.Autograd.Gradients.backward(next.sum());
        Check.Near(given.grad!, torch.zeros(2, 3), 1e-20);
    });

    [Fact]
    public void Products_that_do_not_meet_the_state_are_refused()
    {
        var error = Assert.Throws<ArgumentException>(() => F.gated_state(
            torch.ones(2, 6), torch.ones(2, 9), torch.ones(2, 3)));
        Assert.Equal("given [2, 6] and held [2, 9] do not meet state [2, 3]; they are [N, 3 H] beside [N, H]",
            error.Message);
        error = Assert.Throws<ArgumentException>(() => F.gated_state(
            torch.ones(2, 3), torch.ones(2, 3), torch.ones([2, 1], ScalarType.Float64)));
        Assert.Equal("given Float32, held Float32 and state Float64 differ in type", error.Message);
    }

    private static Tensor Steps(Tensor given, Tensor held, Tensor state)
    {
        var (g, h) = (given.to(ScalarType.Float64).chunk(3, 1), held.to(ScalarType.Float64).chunk(3, 1));
        var (r, z) = ((g[0] + h[0]).sigmoid(), (g[1] + h[1]).sigmoid());
        return (1 - z) * (g[2] + r * h[2]).tanh() + z * state.to(ScalarType.Float64);
    }
}
