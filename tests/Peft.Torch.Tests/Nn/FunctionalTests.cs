using static Peft.Torch.torch.nn;

namespace Peft.Torch.Tests.Nn;

public sealed class FunctionalTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    [Fact]
    public void Cross_entropy_leaves_ignored_targets_out()
    {
        var logits = torch.tensor([1.0, 2, 3, 0, 0, 0], [2, 3]);
        var target = torch.tensor([2L, -100]);
        var expected = Math.Log(Math.Exp(1) + Math.Exp(2) + Math.Exp(3)) - 3;
        Assert.Equal(expected, functional.cross_entropy(logits, target).item<double>(), 1e-12);
        Assert.Equal(expected, functional.cross_entropy(logits, target, reduction: Reduction.Sum).item<double>(), 1e-12);
        Assert.Equal([expected, 0], functional.cross_entropy(logits, target, reduction: Reduction.None).data<double>(),
            new Close(1e-12));
        Assert.Equal(expected, functional.nll_loss(logits.log_softmax(1), target).item<double>(), 1e-12);
    }

    [Fact]
    public void Dropout_keeps_the_mean_and_follows_its_generator()
    {
        var x = torch.ones([10000]);
        using var a = new torch.Generator(1);
        using var b = new torch.Generator(1);
        var dropped = functional.dropout(x, 0.25, training: true, a);
        Assert.True(dropped.equal(functional.dropout(x, 0.25, training: true, b)));
        Assert.Equal(1, dropped.mean().ToDouble(), 0.03);
        Assert.Equal(4.0 / 3, dropped.max().ToDouble(), 1e-6);
        Assert.True(x.equal(functional.dropout(x, 0.25, training: false, a)));
        Assert.Equal(0, functional.dropout(x, 1).sum().ToDouble());
        Assert.Throws<TorchException>(() => functional.dropout(x, 1.5));
    }

    [Fact]
    public void Dropouts_gradient_uses_the_same_mask()
    {
        var x = torch.ones([100], requires_grad: true);
        using var generator = new torch.Generator(1);
        var dropped = functional.dropout(x, 0.5, generator: generator);
        dropped.sum().backward();
        Assert.True(dropped.detach().equal(x.grad!));
    }

    [Fact]
    public void Layer_norm_centres_and_scales()
    {
        var x = torch.tensor([1.0, 2, 3]);
        var root = Math.Sqrt((2.0 / 3) + 1e-5);
        Assert.Equal([1 - (2 / root), 1, 1 + (2 / root)],
            functional.layer_norm(x, [3], torch.full([3], 2, torch.float64), torch.ones(3, torch.float64)).data<double>()
                .Select(v => Math.Round(v, 12)), new Close(1e-9));
    }

    [Fact]
    public void Rows_are_found_by_id()
    {
        var table = torch.arange(6, torch.float32).reshape(3, 2);
        Assert.Equal([4f, 5, 0, 1], functional.embedding(torch.tensor([2L, 0]), table).data<float>());
    }

    [Fact]
    public void Activations_agree_with_their_formula()
    {
        var x = torch.tensor(0.7);
        var cubic = Math.Sqrt(2 / Math.PI) * (0.7 + (0.044715 * 0.343));
        Assert.Equal(0.35 * (1 + Math.Tanh(cubic)), functional.gelu(x, tanh: true).item<double>(), 1e-12);
        Assert.Equal(0.35 * (1 + (x / Math.Sqrt(2)).erf().item<double>()), functional.gelu(x).item<double>(), 1e-12);
        Assert.Equal(-Math.Log(1 + Math.Exp(-0.7)), functional.logsigmoid(x).item<double>(), 1e-12);
        Assert.Equal([0.6, 0.8], functional.normalize(torch.tensor([3.0, 4]), dim: 0).data<double>(), new Close(1e-12));
        Assert.Equal([0f, 1, 9], functional.pad(torch.tensor([1f]), [1, 1], 9).slice(0, 1, 3).data<float>().Prepend(0f));
    }

    [Fact]
    public void Initialisations_stay_within_their_bounds()
    {
        using var generator = new torch.Generator(3);
        using var weight = new Parameter(torch.empty(64, 100));
        init.kaiming_uniform_(weight, Math.Sqrt(5), generator);
        Assert.InRange(weight.abs().max().ToDouble(), 0.099, 0.1);
        init.kaiming_normal_(weight, 0, generator);
        Assert.Equal(Math.Sqrt(0.02), weight.std().ToDouble(), 0.005);
        init.normal_(weight, 1, 0.02, generator);
        Assert.Equal(1, weight.mean().ToDouble(), 0.005);
        init.xavier_uniform_(weight, 1, generator);
        Assert.InRange(weight.abs().max().ToDouble(), 0.185, Math.Sqrt(6.0 / 164));
        Assert.Equal(0, init.zeros_(weight).sum().ToDouble());
        Assert.Equal(6400, init.ones_(weight).sum().ToDouble());
        Assert.True(weight.requires_grad);
        Assert.Throws<ArgumentException>(() => init.kaiming_uniform_(torch.empty(3)));
    }

    private sealed class Close(double tolerance) : IEqualityComparer<double>
    {
        public bool Equals(double x, double y) => Math.Abs(x - y) <= tolerance;

        public int GetHashCode(double obj) => 0;
    }
}
