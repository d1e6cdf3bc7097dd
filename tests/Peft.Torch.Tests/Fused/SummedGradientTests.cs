using Peft.Torch.Fused;

namespace Peft.Torch.Tests.Fused;

/// <summary>Operations that take one norm's output add up its gradient among themselves; of views of it the engine adds
/// them.</summary>
[Collection(FusedCollection.Name)]
public sealed class SummedGradientTests : IDisposable
{
    private const long Inputs = 48, Outputs = 80, Ranks = 24;
    private const int Experts = 3;

    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(11);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    public static TheoryData<string, ScalarType, long> Cases()
    {
        var cases = new TheoryData<string, ScalarType, long>();
        foreach (var operation in Operations.Keys)
        {
            cases.Add(operation, ScalarType.Float32, 203);
            cases.Add(operation, ScalarType.BFloat16, 203);
            cases.Add(operation, ScalarType.Float32, 5);
        }

        cases.Add("linear", ScalarType.Float16, 203);
        cases.Add("mixture", ScalarType.Float16, 203);
        return cases;
    }

    private sealed record Factors(
        Tensor Weight, Tensor A, Tensor B, Tensor Gates, Tensor Selected, Tensor Gate, Tensor Vector);

    private static readonly Dictionary<string, Func<Tensor, Factors, Tensor>> Operations = new()
    {
        ["linear"] = (y, f) => F.linear(y, f.Weight),
        ["low-rank"] = (y, f) => F.low_rank_linear(y, f.Weight, null, y.detach().mm(f.A.to(y.dtype).t()), f.B, 0.5),
        ["mixture"] = (y, f) => F.lora_mixture_linear(y, f.Weight, null, f.A, f.B, f.Gates, 0.5),
        ["selected"] = (y, f) => F.lora_mixture_linear(y, f.Weight, null, f.A, f.B, f.Gates, 0.5, null, f.Selected),
        ["beside"] = (y, f) => F.lora_mixture_linear(y, f.Weight, null, f.A, f.B, f.Gates, 0.5, y),
        ["part"] = (y, f) => F.lora_mixture(y, f.A, f.B, f.Gates, 0.5),
        ["dora"] = (y, f) => F.dora_linear(y, f.Weight, null, f.A, f.B, f.Vector, f.Vector + 1, 0.5),
        ["rows"] = (y, f) => F.expert_rows_linear(
            y, f.Weight, null, f.A, f.B, ExpertRows.Of(f.Selected, [y.size(0)]), 0.5),
        ["scores"] = (y, f) => F.router_scores(y, f.Gate),
        ["softmax"] = (y, f) => F.router_softmax(y, f.Gate).Probabilities,
        ["top-k"] = (y, f) => F.topk_softmax(y, f.Gate, new(2, true)).Gates,
        ["standardized"] = (y, f) => F.topk_softmax(y, f.Gate, new(2, true, RouterScore.Standardized)).Gates,
        ["sparsity"] = (y, f) => F.predicted_sparsity(
            y, f.Gate, f.Vector.narrow(0, 0, Experts), f.Vector.narrow(0, 0, Experts).unsqueeze(0),
            f.Vector.narrow(0, 0, 1), 0.01),
    };

    // Each operation comes after another and before another, so that it both begins a sum and adds to one.
    [Theory]
    [MemberData(nameof(Cases))]
    public void A_sum_is_what_the_engine_adds_up(string operation, ScalarType dtype, long rows)
    {
        var factors = FactorsOf(dtype, rows);
        var (x, scale) = (Check.Leaf(_random, dtype, rows, Inputs), torch.ones([Inputs], dtype));
        Func<Tensor, Factors, Tensor>[] order = [
            Operations[operation], Operations["linear"], Operations[operation], Operations["scores"],
            Operations[operation]];
        var tolerance = dtype == ScalarType.Float32 ? 1e-5 : 0.02;

        var together = Gradient(y => y);
        var apart = Gradient(y => y.alias());

        Check.Near(together, apart, tolerance);
        if (dtype == ScalarType.BFloat16)
            Assert.NotEqual(apart.bytes.ToArray(), together.bytes.ToArray()); // rounded more often
        return;

        Tensor Gradient(Func<Tensor, Tensor> way)
        {
            x.grad = null;
            var y = F.rms_norm(x, scale, 1e-6);
            var sum = torch.zeros([]);
            foreach (var run in order)
                sum += (run(way(y), factors).to(ScalarType.Float32) * 0.3).sin().sum();
            Gradients.backward(sum);
            return x.grad!;
        }
    }

    private Factors FactorsOf(ScalarType dtype, long rows)
    {
        var gates = torch.rand([rows, Experts], generator: _random);
        var selected = F.top_mask(gates, 2);
        return new(
            Check.Normal(_random, dtype, Outputs, Inputs) / 4,
            Check.Leaf(_random, ScalarType.Float32, Ranks, Inputs),
            Check.Leaf(_random, ScalarType.Float32, Outputs, Ranks), gates * selected, selected,
            Check.Leaf(_random, ScalarType.Float32, Experts, Inputs),
            torch.rand([Outputs], generator: _random).requires_grad_());
    }

    [Theory]
    [InlineData(ScalarType.Float32, 48)]
    [InlineData(ScalarType.Float32, 33)]
    [InlineData(ScalarType.BFloat16, 48)]
    [InlineData(ScalarType.BFloat16, 33)]
    public void A_norm_that_hands_its_input_on_makes_one_gradient_of_both_ways(ScalarType dtype, long width)
    {
        var (x, scale) = (Check.Leaf(_random, dtype, 70, width), Check.Leaf(_random, dtype, width));
        Check.WithAndWithoutKernels(() =>
        {
            Check.Same(
                t =>
                {
                    var (normal, same) = F.rms_norm_beside(t[0], t[1], 1e-6);
                    return normal.sin() + (same * 0.5);
                },
                t => F.rms_norm(t[0], t[1], 1e-6).sin() + (t[0] * 0.5), [x, scale],
                dtype == ScalarType.Float32 ? 1e-6 : 0.02);
            var (_, alone) = F.rms_norm_beside(x, scale, 1e-6);
            Check.Near(Gradients.grad([(alone * 2).sum()], [x])[0], torch.full_like(x, 2), 0);
            var frozen = x.detach();
            var (unused, handed) = F.rms_norm_beside(frozen, scale, 1e-6);
            Gradients.backward((unused * handed).sum());
            Assert.Null(frozen.grad);
        });
    }
}
