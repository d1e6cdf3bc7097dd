using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Bundles;
using Peft.Adapters.Tests.Lora;

namespace Peft.Adapters.Tests.Merging;

public sealed class GateCollapseTests : TensorTests
{
    public static TheoryData<string> Kinds => [.. RouterCatalog.Entries.Select(entry => entry.Kind)];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Gates_that_are_learned_are_not_called_constant(string kind) =>
        Assert.Null(GateCollapse.ConstantGates(Trained(AttachmentTests.Options(kind))));

    [Fact]
    public void A_soft_router_that_tells_no_expert_apart_collapses_exactly()
    {
        var adapted = Soft();
        var expected = TinyModel.Logits(adapted.Model);
        var losses = new List<CollapseLoss>();

        var gates = GateCollapse.ConstantGates(adapted)!;
        var cat = GateCollapse.Collapse(adapted, "x", gates, null, losses);
        PeftDirectory.Write(Tiny.In("cat"), cat, "card");

        Assert.Equal(6, cat.Config.R);
        Assert.All(losses, loss => Assert.Equal(0, loss.RankError));
        Golden.Near(expected, IndependentPeft.Logits(Tiny.New(), Tiny.In("cat")));
    }

    [Fact]
    public void A_reduced_rank_is_the_best_one_and_tells_what_it_loses()
    {
        var adapted = Soft();
        var gates = GateCollapse.ConstantGates(adapted)!;
        var losses = new List<CollapseLoss>();

        var svd = GateCollapse.Collapse(adapted, "x", gates, 2, losses);
        var full = GateCollapse.Collapse(adapted, "x", gates, 6, []);

        Assert.Equal(14, losses.Count);
        foreach (var (module, index) in adapted.Modules.Select((module, index) => (module, index)))
        {
            var exact = module.WeightedUp(gates[module.Path]).matmul(module.Down);
            var cut = svd.Modules[index];
            var error = ((exact - cut.Up.matmul(cut.Down)).norm() / exact.norm()).ToDouble();
            // Eckart-Young: the error of the best approximation follows from the singular values of the whole product.
            var values = torch.linalg.svd(exact.to(torch.float64)).S.data<double>().ToArray();
            var best = Math.Sqrt(values.Skip(2).Sum(value => value * value) / values.Sum(value => value * value));
            Assert.Equal(best, error, 1e-5);
            Assert.Equal(best, losses[index].RankError, 1e-5);
            Assert.Equal(1 - best * best, losses[index].Energy, 1e-5);
            Golden.Near(exact, full.Modules[index].Up.matmul(full.Modules[index].Down));
        }
    }

    [Fact]
    public void Mean_gates_are_those_of_the_text_and_their_error_is_measured()
    {
        var probe = new AdapterProbe(Trained(AttachmentTests.Options("soft")));
        var ids = TinyModel.Ids;

        var means = GateCollapse.MeanGates(probe, ids);
        var errors = GateCollapse.GateErrors(probe, ids, means);

        Assert.Equal(14, means.Count);
        Assert.All(means.Values, gates => Assert.Equal(1, gates.sum().ToDouble(), 1e-5));
        Assert.All(errors.Values, error => Assert.InRange(error, 1e-6, 1));
        Assert.All(
            GateCollapse.GateErrors(new AdapterProbe(Soft()), ids, GateCollapse.ConstantGates(Soft())!).Values,
            error => Assert.InRange(error, 0, 1e-5));
    }

    private AdaptedModel Soft()
    {
        var adapted = Trained(AdapterOptionsTests.Read("""{"method": "mixture", "r": 2, "experts": {"count": 3},"""
            + """ "router": {"kind": "soft"}}"""));
        using var off = torch.no_grad();
        foreach (var module in adapted.Modules)
            module.Router!.parameters().Single().zero_();
        return adapted;
    }

    private AdaptedModel Trained(AdapterOptions options)
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), options, seed: 1);
        AttachmentTests.FillUp(adapted);
        return adapted;
    }
}
