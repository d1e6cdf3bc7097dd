namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class SparsegenTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(11);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    private static Tensor Wide(Tensor tensor) => tensor.to(ScalarType.Float64);

    [Theory]
    [InlineData(8, 0.001)]
    [InlineData(3, 0.9)]
    [InlineData(21, 0.001)]
    public void The_sparse_projection_equals_its_steps_in_float64(int experts, double eps) =>
        Check.WithAndWithoutKernels(() =>
    {
        Tensor[] inputs =
        [
            Check.Leaf(_random, ScalarType.Float32, 40, experts),
            (0.9 - Check.Normal(_random, ScalarType.Float32, 40).abs()).detach().requires_grad_(),
        ];
        Check.Same(t => F.sparsegen(t[0], t[1], eps).Gates,
            t => Composed.sparsegen(Wide(t[0]), Wide(t[1]), eps).Gates, inputs, 5e-5, sameType: false);
        var (gates, open) = F.sparsegen(inputs[0], inputs[1], eps);
        Check.SameBits(open, Composed.sparsegen(inputs[0], inputs[1], eps).Open);
        if (eps < 0.5)
            Check.Near(gates.sum(-1), torch.ones(40), 1e-5);
    });

    [Theory]
    [InlineData(ScalarType.Float32, 64, 32, 0, 5e-6)]
    [InlineData(ScalarType.Float32, 70, 37, 0, 5e-6)]
    [InlineData(ScalarType.BFloat16, 64, 32, 0, 0.006)]
    [InlineData(ScalarType.BFloat16, 70, 37, 0, 0.006)]
    // Few units are above zero.
    [InlineData(ScalarType.Float32, 64, 32, -20, 5e-6)]
    [InlineData(ScalarType.Float32, 70, 37, -20, 5e-6)]
    [InlineData(ScalarType.BFloat16, 64, 32, -20, 0.006)]
    [InlineData(ScalarType.BFloat16, 70, 37, -20, 0.006)]
    // None is.
    [InlineData(ScalarType.Float32, 70, 37, -500, 5e-6)]
    [InlineData(ScalarType.BFloat16, 70, 37, -500, 0.006)]
    public void The_predicted_sparsity_equals_its_steps_in_float64(
        ScalarType dtype, int width, int hidden, float bias, double tolerance)
    {
        Tensor[] inputs =
        [
            Check.Leaf(_random, dtype, 3, 200, width), Check.Leaf(_random, ScalarType.Float32, hidden, width),
            Check.Leaf(_random, ScalarType.Float32, hidden), Check.Leaf(_random, ScalarType.Float32, 1, hidden),
            Check.Leaf(_random, ScalarType.Float32, 1),
        ];
        using (torch.no_grad())
        {
            inputs[2].add_(bias);
            inputs[3].mul_(0.1);
            var active = inputs[0].to(ScalarType.Float32).matmul(inputs[1].t()).add(inputs[2]).gt(0);
            var share = active.to(ScalarType.Float32).mean().ToSingle();
            Assert.InRange(share, bias == 0 ? 0.3 : bias < -100 ? 0 : 0.001, bias == 0 ? 0.7 : bias < -100 ? 0 : 0.06);
        }

        // Products take the weight in the type of x.
        Check.Same(t => F.predicted_sparsity(t[0], t[1], t[2], t[3], t[4], 0.01), t => Composed.predicted_sparsity(
            Wide(t[0]), Wide(t[1].to(dtype)), Wide(t[2]), Wide(t[3]), Wide(t[4]), 0.01), inputs, tolerance,
            sameType: false);
    }

    // Projections of one input width have one network.
    [Theory]
    [InlineData(ScalarType.Float32, 0, 1e-5)]
    [InlineData(ScalarType.Float32, -20, 1e-5)]
    [InlineData(ScalarType.BFloat16, 0, 0.004)]
    [InlineData(ScalarType.BFloat16, -20, 0.004)]
    public void A_network_of_several_inputs_gets_the_sum_of_its_gradients(
        ScalarType dtype, float bias, double tolerance)
    {
        Tensor[] network =
        [
            Check.Leaf(_random, ScalarType.Float32, 37, 70), Check.Leaf(_random, ScalarType.Float32, 37),
            Check.Leaf(_random, ScalarType.Float32, 1, 37), Check.Leaf(_random, ScalarType.Float32, 1),
        ];
        using (torch.no_grad())
            network[1].add_(bias);
        Tensor[] inputs = [.. Enumerable.Range(0, 3).Select(_ => Check.Normal(_random, dtype, 200, 70))];
        Tensor Of(Tensor x) => F.predicted_sparsity(x, network[0], network[1], network[2], network[3], 0.01).sum();
        var apart = inputs.Select(x => Peft.Torch.Autograd.Gradients.grad([Of(x)], network)).ToList();
        for (var pass = 1; pass <= 2; pass++)
        {
            Peft.Torch.Autograd.Gradients.backward(Of(inputs[0]) + Of(inputs[1]) + Of(inputs[2]));
            for (var i = 0; i < network.Length; i++)
                Check.Near(network[i].grad!, (apart[0][i] + apart[1][i] + apart[2][i]) * pass, tolerance);
        }
    }

    [Fact]
    public void A_predicted_sparsity_neither_overflows_nor_vanishes() => Check.WithAndWithoutKernels(() =>
    {
        var x = torch.tensor(new[] { -100f, -1f, 0f, 1f, 100f }, [5, 1]);
        // relu(x) - relu(-x), the score x itself.
        var sparsity = torch.cat([Of(x, 1, 1), Of(x, -1, -1)], 0);
        Check.Near(sparsity.narrow(0, 2, 3), torch.tensor(new[] { -0.6931472f, -0.3132617f, 0f }, [3]), 1e-6);
        Check.Near(sparsity.narrow(0, 5, 2), torch.tensor(new[] { -100f, -1.3132617f }, [2]), 1e-6);

        static Tensor Of(Tensor x, float first, float second) => F.predicted_sparsity(
            x, torch.full([1, 1], first), torch.zeros(1), torch.full([1, 1], second), torch.zeros(1), 1);
    });

    [Fact]
    public void The_sparse_projection_of_equal_scores_is_even() => Check.WithAndWithoutKernels(() =>
        Check.Near(F.sparsegen(torch.zeros(2, 4), torch.zeros(2), 0.001).Gates, torch.full([2, 4], 0.25), 1e-6));
}
