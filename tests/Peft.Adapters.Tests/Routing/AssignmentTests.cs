using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>Balances that move the choice by prices or by a transport plan: golden numbers to 1e-5, and what they
/// promise.</summary>
public sealed class AssignmentTests : TensorTests
{
    private const string File = "secondary.json";

    [Fact]
    public void Prices_of_bip_after_every_round_and_the_choice_by_them()
    {
        var golden = Golden.Case(File, "bip_balancing");
        var (s, k, rounds) = (golden.Input("s"), (int)golden.Parameter("k"), (int)golden.Parameter("T"));
        var q = torch.zeros([4]);
        var each = new List<Tensor>();
        for (var round = 0; round < rounds; round++)
            each.Add(q = AssignmentDuals.Of(s, q, k, 1, clips: true).OfExperts);
        var (p, together) = AssignmentDuals.Of(s, torch.zeros([4]), k, rounds, clips: true);

        Golden.Near(golden.Expected("p"), p);
        Golden.Near(golden.Expected("q_per_iteration"), torch.stack([.. each], 0));
        Golden.Near(each[^1], together);
        Golden.Near(golden.Expected("counts_before"), Selection.TopMask(s, k).to(torch.float32).sum(0L));
        Golden.Near(golden.Expected("counts_after"), Selection.TopMask(s - q, k).to(torch.float32).sum(0L));
        Golden.Near(golden.Expected("indices"), Selection.TopIndices(s - q, k).to(torch.float32));
    }

    [Fact]
    public void A_router_that_is_held_still_keeps_its_biases()
    {
        var adapted = AdapterAttachment.Attach(
            Tiny.New(), AdapterOptionsTests.Read(
                """{"method": "mixture", "router": {"kind": "top-k", "balance": {"kind": "loss-free"} } }"""), seed: 1);
        foreach (var parameter in adapted.Modules[0].Router!.parameters())
            parameter.requires_grad = false;
        using var procedure = new RoutingProcedure(adapted);
        var pass = ForwardPass.ForTraining();

        adapted.Model.Forward(TinyModel.Ids, pass);
        procedure.AfterPass(pass, null, () => torch.zeros([2]));
        procedure.AfterStep();

        Assert.Equal([0, 0.001], adapted.Modules.Take(2).Select(module => Math.Round(
            module.AdapterBuffers().Single().Buffer.abs().max().ToDouble(), 6)));
    }

    [Fact]
    public void Prices_of_quantile_balancing_and_its_centred_bias()
    {
        var golden = Golden.Case(File, "quantile_balancing");
        var (s, k) = (golden.Input("s"), (int)golden.Parameter("k"));

        var (p, q) = AssignmentDuals.Of(s, torch.zeros([4]), k, 1, clips: false);
        var bias = torch.zeros([4]);
        AssignmentDuals.Update(bias, s, k, new BalanceOptions { Kind = BalanceOptions.Quantile, Iterations = 1 });

        Golden.Near(golden.Expected("p"), p);
        Golden.Near(golden.Expected("q"), q);
        Golden.Near(golden.Expected("counts_after"), Selection.TopMask(s - q, k).to(torch.float32).sum(0L));
        Golden.Near(golden.Expected("bias_mean_centred"), bias);
    }

    [Fact]
    public void The_transport_plan_of_sinkhorn_and_the_choice_by_it()
    {
        var golden = Golden.Case(File, "sinkhorn_routing");
        var (logits, k) = (golden.Input("logits"), (int)golden.Parameter("k"));

        var plan = TransportPlan.Of(logits, null, golden.Parameter("xi"), (int)golden.Parameter("iters"), 0);

        Golden.Near(golden.Expected("plan"), plan);
        Golden.Near(golden.Expected("row_sums"), plan.sum(1L));
        Golden.Near(golden.Expected("col_sums"), plan.sum(0L));
        var best = Selection.TopIndices(plan, k);
        Golden.Near(golden.Expected("topk"), best.to(torch.float32));
        Golden.Near(
            golden.Expected("weights"),
            Selection.Gates(plan, Selection.TopMask(plan, k), normalize: true).gather(1, best));
        var padded = torch.cat([logits, torch.full([2, 3], 7.0)], 0);
        var mask = torch.tensor(new[] { true, true, true, true, true, true, false, false });
        Golden.Near(plan, TransportPlan.Of(padded, mask, 0.1, 200, 0).narrow(0, 0, 6));
    }

    [Theory]
    [InlineData(BalanceOptions.Bip)]
    [InlineData(BalanceOptions.Quantile)]
    public void Prices_of_one_step_serve_the_next_and_spread_a_collapsed_load(string kind)
    {
        var router = New(new() { Kind = kind });
        var x = torch.randn([64, 4], generator: Seeds.GeneratorFor(1, "x")) + torch.tensor(new[] { 3f, 0, 0, 0 });
        var first = router.Route(x, ForwardPass.ForTraining());
        var busy = first.Selected.to(torch.float32).sum(0L);

        Assert.True(first.Gates.SameAs(router.Route(x, ForwardPass.ForTraining()).Gates));
        for (var step = 0; step < 4; step++)
        {
            var decision = router.Route(x, ForwardPass.ForTraining());
            router.Balance(new(decision.Selected.to(torch.float32).sum(0L), router.ScoresOf(decision)));
        }

        var even = router.Route(x, ForwardPass.ForTraining()).Selected.to(torch.float32).sum(0L);
        Assert.InRange(busy.max().ToDouble(), 60, 64);
        Assert.True(even.max().ToDouble() <= 40, $"{even.max().ToDouble()} of 64 tokens, 32 are even");
        // A weight is the score; the price is in the choice alone.
        var last = router.Route(x, ForwardPass.ForInference());
        var kept = last.Probabilities! * last.Selected;
        Golden.Near(kept / kept.sum(-1, keepdim: true), last.Gates);
        Assert.False(last.Gates.SameAs(first.Gates.detach()));
    }

    [Fact]
    public void Sinkhorn_routes_some_steps_alike_in_every_module_and_leaves_inference_alone()
    {
        var balance = new BalanceOptions { Kind = BalanceOptions.Sinkhorn, Fraction = 0.5, Iterations = 100 };
        var (router, other, plain) = (New(balance), New(balance, "n"), New(new()));
        var x = torch.randn([6, 4], generator: Seeds.GeneratorFor(1, "x"));
        var moved = new List<bool>();
        for (var step = 0; step < 20; step++)
        {
            var decision = router.Route(x, ForwardPass.ForTraining());
            moved.Add(!decision.Gates.requires_grad);
            Assert.Equal(moved[^1], !other.Route(x, ForwardPass.ForTraining()).Gates.requires_grad);
            foreach (var each in new[] { router, other })
                each.Balance(new(torch.zeros([4])));
        }

        Assert.InRange(moved.Count(one => one), 5, 15);
        Assert.True(router.Route(x, ForwardPass.ForInference()).Gates
            .SameAs(plain.Route(x, ForwardPass.ForInference()).Gates));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_plan_weighs_experts_as_normalize_says(bool normalize)
    {
        var balance = new BalanceOptions { Kind = BalanceOptions.Sinkhorn, Fraction = 1, Iterations = 100 };
        var x = torch.randn([6, 4], generator: Seeds.GeneratorFor(1, "x"));

        var decision = New(balance, normalize: normalize).Route(x, ForwardPass.ForTraining());

        var kept = TransportPlan.Of(x, null, balance) * decision.Selected;
        Golden.Near(normalize ? kept / kept.sum(-1, keepdim: true) : kept, decision.Gates);
        Assert.Equal(normalize, (decision.Gates.sum(-1) - 1).abs().max().ToDouble() < 1e-5);
    }

    [Fact]
    public void A_plan_in_every_step_is_refused_since_the_router_would_never_learn()
    {
        var error = Assert.Throws<FaultsException>(() => AdapterOptionsTests.Read("""
            {"method": "mixture", "router": {"kind": "top-k", "balance": {"kind": "sinkhorn", "fraction": 1} } }
            """));

        Assert.Equal(
            "line 1  router.balance.fraction: 1; expected a number above 0 and below 1.",
            error.Items.Single().ToString());
    }

    [Theory]
    [InlineData("bip")]
    [InlineData("quantile")]
    [InlineData("sinkhorn")]
    [InlineData("loss-free")]
    public void Routers_that_do_not_choose_by_a_score_refuse_by_name(string kind)
    {
        var error = Assert.Throws<FaultsException>(() => AdapterOptionsTests.Read($$$"""
            {"method": "mixture", "router": {"kind": "soft", "balance": {"kind": "{{{kind}}}"} } }
            """));

        Assert.Equal(
            $"line 1  router.balance.kind: '{kind}'; expected none, switch or localized. It moves the choice of "
            + $"router: {Movable}; soft has none to move.", error.Items.Single().ToString());
    }

    [Theory]
    [InlineData("bip")]
    [InlineData("quantile")]
    [InlineData("loss-free")]
    public void A_bias_needs_a_choice(string kind)
    {
        var error = Assert.Throws<FaultsException>(() => AdapterOptionsTests.Read($$$"""
            {"method": "mixture", "router": {"kind": "top-k", "top_k": 4, "balance": {"kind": "{{{kind}}}"} } }
            """));

        Assert.Equal(
            $"line 1  router.balance.kind: '{kind}' with top_k: 4; expected a top_k below the 4 experts. Where every "
            + "token gets all experts, there is no choice to move.", error.Items.Single().ToString());
    }

    [Fact]
    public void Where_layers_have_unlike_numbers_of_experts_prices_need_a_choice_in_each_and_a_step_in_one()
    {
        static AdapterOptions Read(string balance, string counts) => AdapterOptionsTests.Read($$$"""
            {"method": "mixture", "experts": {"count": {{{counts}}}},
             "router": {"kind": "top-k", "top_k": 2, "balance": {"kind": "{{{balance}}}"} } }
            """);

        Assert.True(((TopKRouterOptions)Read("loss-free", "[2, 4]").Router!).Balance.IsLossFree);
        foreach (var (balance, counts) in new[] { ("bip", "[2, 4]"), ("loss-free", "[2, 2]"), ("loss-free", "[1, 2]") })
            Assert.EndsWith(
                $"router.balance.kind: '{balance}' with top_k: 2; expected a top_k below the 2 experts. Where every "
                    + "token gets all experts, there is no choice to move.",
                Assert.Throws<FaultsException>(() => Read(balance, counts)).Items.Single().ToString(),
                StringComparison.Ordinal);
    }

    private static string Movable => "comol, graph-of-tokens, mixlora, mixlora-switch, rmoe or top-k";

    private static TopKRouter New(BalanceOptions balance, string path = "m", bool normalize = true)
    {
        var router = new TopKRouter(
            new TopKRouterOptions { Balance = balance, Normalize = normalize }, new RouterContext(path, 4, 4, 2, 1));
        using var off = torch.no_grad();
        router.named_parameters().Single().parameter.copy_(torch.eye(4));
        return router;
    }
}
