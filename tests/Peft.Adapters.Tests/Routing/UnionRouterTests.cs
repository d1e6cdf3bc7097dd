using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>Union-of-Experts: slices of a feed-forward that take positions, and sequences that take slices.</summary>
public sealed class UnionRouterTests : TensorTests
{
    private const int Slices = 3;

    private static readonly Golden Case = Golden.Case("second.json", "union_of_experts");

    [Theory]
    [InlineData(UnionRouterOptions.Data, "output_data_selection")]
    [InlineData(UnionRouterOptions.Expert, "output_expert_selection")]
    public void A_feed_forward_of_selected_slices_gives_what_the_source_gives(string selection, string expected)
    {
        // The source adds its input.
        Golden.Near(Case.Expected(expected), Output(Routed(selection)) + Case.Input("x"));
        // All slices together are the feed-forward.
        Golden.Near(Case.Expected("dense"), Output(Routed(selection, topK: Slices, share: 1)));
    }

    [Fact]
    public void Each_slice_takes_the_positions_that_want_it_most()
    {
        var p = Routed(UnionRouterOptions.Data).Route(Case.Input("x"), ForwardPass.ForInference()).Probabilities!;
        var scores = UnionRouter.Scores(p.reshape(3, 4, Slices), null, (int)Case.Parameter("k"));
        // The source multiplies by capacity and batch.
        Golden.Near(Case.Expected("gate_scores"), scores * Math.Floor(3 * Case.Parameter("capacity")));

        var taken = UnionRouter.Positions(scores, null, 0.5).permute(2, 0, 1).contiguous();    // [E, B, T]
        var expected = Case.Expected("selected_positions").to(torch.int64);
        Assert.True(torch.zeros_like(taken, torch.@bool).scatter_(
            2, expected, torch.ones_like(expected, torch.@bool)).SameAs(taken));
    }

    [Fact]
    public void Each_sequence_takes_its_most_probable_slices()
    {
        var decision = Routed(UnionRouterOptions.Expert).Route(Case.Input("x"), ForwardPass.ForInference());

        Golden.Near(Case.Expected("switch_probs").repeat_interleave(4, 0), decision.Probabilities!);
        Assert.Equal(
            Case.Expected("selected_experts").repeat_interleave(4, 0).reshape(-1).to(torch.int64)
                .data<long>().ToArray(),
            decision.Selected.nonzero().select(1, 1).data<long>().ToArray());
    }

    [Theory]
    [InlineData(UnionRouterOptions.Data)]
    [InlineData(UnionRouterOptions.Expert)]
    public void The_router_learns_where_its_probabilities_weigh_and_is_frozen_otherwise(string selection)
    {
        Assert.All(Routed(selection).parameters(), parameter => Assert.False(parameter.requires_grad));

        var router = Routed(selection, weigh: true);
        var decision = router.Route(Case.Input("x"), ForwardPass.ForTraining());
        Golden.Near(decision.Selected.to(torch.float32).sum(-1), decision.Gates.sum(-1));
        (decision.Gates * (torch.arange(Slices, torch.float32) + 1)).sum().backward();
        Assert.All(router.parameters(), parameter => Assert.True(parameter.grad!.abs().sum().ToDouble() > 0));

        var balanced = new UnionRouterOptions
        {
            Balance = new BalanceOptions { Kind = BalanceOptions.Switch, Coefficient = 1 },
        };
        Assert.All(
            new UnionRouter(balanced, new RouterContext("gate", 4, Slices, 1, 1)).parameters(),
            parameter => Assert.True(parameter.requires_grad));
    }

    [Fact]
    public void A_token_that_no_slice_takes_has_no_weights()
    {
        var router = Routed(UnionRouterOptions.Data, topK: 1, share: 0.25, weigh: true);
        var decision = router.Route(Case.Input("x"), ForwardPass.ForInference());

        Assert.False(decision.Selected.any(-1).all().item<bool>());
        Assert.True(decision.Gates.isfinite().all().item<bool>());
    }

    [Fact]
    public void Padding_is_neither_counted_nor_taken()
    {
        var router = Routed(UnionRouterOptions.Data);
        var x = Case.Input("x");
        var mask = torch.tensor(
            new[] { true, true, true, true, true, true, false, false, true, false, false, false }, [3, 4]);
        var taken = router.Route(x, ForwardPass.ForInference(tokenMask: mask)).Selected.reshape(3, 4, Slices);

        // Half of four, of two and of one, which is at least one.
        Assert.Equal([2L, 1, 1], taken.to(torch.int64).sum(1).select(1, 0).data<long>().ToArray());
        Assert.False(taken.logical_and(mask.logical_not().unsqueeze(-1)).any().item<bool>());
    }

    [Fact]
    public void A_longer_sequence_than_the_router_knows_and_a_cache_are_refused()
    {
        var router = Routed(UnionRouterOptions.Expert);
        Assert.Equal(
            "adapter.router.length: 4, and a sequence has 5 tokens; expected at least 5, or a smaller data.max_length.",
            Assert.Throws<UserException>(
                () => router.Route(torch.zeros([2, 5, 4]), ForwardPass.ForInference())).Message);
        Assert.Equal(
            "adapter.router.kind: 'union-of-experts' cannot write a text: slices are chosen by the whole sequence, "
                + "later tokens too; expected measuring of given texts (peft eval with choices or perplexity, peft "
                + "logits).",
            Assert.Throws<UserException>(() => router.Route(
                Case.Input("x"), ForwardPass.ForInference(cache: new KeyValueCache(1)))).Message);
    }

    [Theory]
    [InlineData("""{"kind": "union-of-experts", "top_k": 5}""",
        "line 1  router.top_k: 5; expected at most the 4 slices that count says.")]
    [InlineData("""{"kind": "union-of-experts", "position_share": 1.5}""",
        "line 1  router.position_share: 1.5; expected a number above 0 and at most 1.")]
    public void Settings_that_cannot_be_are_refused(string router, string message)
    {
        var faults = new Faults();
        RouterCatalog.Read(
            new OptionReader(ConfigJson.Parse(router, "router"), "router", faults), new RouterSize(1, 2));

        Assert.Equal(message, Assert.Single(faults.Items).ToString());
    }

    private static UnionRouter Routed(string selection, int topK = 2, double share = 0.5, bool weigh = false)
    {
        var router = new UnionRouter(
            new UnionRouterOptions
            {
                Count = Slices, Selection = selection, TopK = topK, PositionShare = share, Length = 4, Weigh = weigh,
            }, new RouterContext("gate", 4, Slices, 1, 1));
        using var off = torch.no_grad();
        var from = selection == UnionRouterOptions.Data ? "gate" : "switch";
        foreach (var (name, parameter) in router.named_parameters())
            parameter.copy_(Case.Input(name == "weight" ? $"{from}_W" : $"{from}_b"));
        return router;
    }

    // The feed-forward of the case with this router.
    private static Tensor Output(UnionRouter router)
    {
        var up = new MixtureProjection(
            new BaseLinear("gate", Case.Input("W1").ToParameter(false), Case.Input("b1").ToParameter(false)),
            new MixtureShape(1, 1, 1) { Part = ExpertPart.Entry }, router, torch.ones([1, 4]).ToParameter());
        var down = new MixtureProjection(
            new BaseLinear("down", Case.Input("W2").ToParameter(false), Case.Input("b2").ToParameter(false)),
            new MixtureShape(1, 1, 1) { Part = ExpertPart.Exit },
            new SharedRouter(router, new RouterContext("down", 6, Slices, 1, 1)), torch.ones([1, 6]).ToParameter());
        var pass = ForwardPass.ForInference();
        return down.Forward(torch.nn.functional.gelu(up.Forward(Case.Input("x"), pass)), pass);
    }
}
