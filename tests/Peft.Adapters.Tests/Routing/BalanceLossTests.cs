using Peft.Adapters.Lora;
using Peft.Adapters.Routing;

namespace Peft.Adapters.Tests.Routing;

public sealed class BalanceLossTests : TensorTests
{
    [Fact]
    public void The_switch_loss_is_that_of_mixlora()
    {
        var golden = Golden.Case("secondary.json", "top2_and_switch_balance_loss");
        var p = golden.Input("logits").softmax(-1);
        var mask = golden.Input("attention_mask").gt(0.5);
        var selected = Selection.TopMask(p, 2);
        var gates = Selection.Gates(p, selected, normalize: true);
        var indices = Selection.TopIndices(p, 2);

        Golden.Near(golden.Expected("indices"), indices);
        Golden.Near(golden.Expected("weights"), gates.gather(-1, indices));
        Golden.Near(golden.Expected("f").sum(0L), TokenMean.OfRows(selected.to(torch.float32), mask));
        Golden.Near(golden.Expected("P"), TokenMean.OfRows(p, mask));
        Assert.Equal(golden.ExpectedNumber("loss"), SwitchBalanceLoss.Of(p, selected, mask).ToDouble(), 1e-5);
    }

    [Fact]
    public void Padding_never_counts()
    {
        var p = torch.randn([6, 4], generator: Seeds.GeneratorFor(1, "p")).softmax(-1);
        var mask = torch.tensor(new[] { true, true, true, true, false, false }, [6]);
        var changed = torch.cat(
            [p.narrow(0, 0, 4), torch.randn([2, 4], generator: Seeds.GeneratorFor(2, "p")).softmax(-1)], 0);
        foreach (var loss in new Func<Tensor, Tensor>[]
        {
            x => SwitchBalanceLoss.Of(x, Selection.TopMask(x, 2), mask),
            x => RoutingSpecializationLoss.Of(x, mask, new RoutingSpecializationOptions()),
        })
            Assert.Equal(loss(p).ToDouble(), loss(changed).ToDouble(), 1e-7);
    }

    [Fact]
    public void Modules_are_averaged_or_pooled()
    {
        var one = Record([[0.9f, 0.1f], [0.8f, 0.2f]]);
        var two = Record([[0.1f, 0.9f], [0.2f, 0.8f]]);
        var mask = torch.tensor(new[] { true, true }, [2]);

        var averaged = SwitchBalanceLoss.Of([one, two], mask, pooled: false).ToDouble();
        var pooled = SwitchBalanceLoss.Of([one, two], mask, pooled: true).ToDouble();

        Assert.Equal(2 * 0.85, averaged, 1e-5);
        Assert.Equal(1, pooled, 1e-5);
    }

    [Fact]
    public void The_options_compose_the_loss_and_the_coefficient_scales_it()
    {
        var options = Lora.AdapterOptionsTests.Read("""
            {"method": "mixture", "experts": {"count": 2},
             "router": {"kind": "mixlora-switch", "z_loss_coefficient": 0.25,
             "balance": {"kind": "switch", "coefficient": 0.5}}}
            """);
        var auxiliary = AuxiliaryLoss.From(options.Router);
        var record = Record([[0.9f, 0.1f], [0.8f, 0.2f]]);
        // Logits whose logarithm of the sum is 3, and so their z-loss 9.
        var logits = record.Decision.Probabilities!.log() + 3;
        record = record with { Decision = record.Decision with { Logits = logits } };

        var total = auxiliary.Of([record], torch.ones([1, 2]).gt(0))!.ToDouble();

        Assert.Equal(["z", "balance"], auxiliary.Terms.Select(term => term.Name));
        Assert.Equal((0.25 * 9) + (0.5 * 2 * 0.85), total, 1e-5);
    }

    [Fact]
    public void Without_losses_there_is_nothing_to_add()
    {
        Assert.Null(AuxiliaryLoss.From(null).Of([], null));
        Assert.Null(AuxiliaryLoss.From(new SoftRouterOptions()).Of([Record([[1, 0]])], null));
    }

    private static RoutingRecord Record(float[][] rows)
    {
        var p = torch.tensor(rows.SelectMany(row => row).ToArray(), [rows.Length, rows[0].Length]);
        return new RoutingRecord("m", new RoutingDecision(p, Selection.TopMask(p, 1), p));
    }
}
