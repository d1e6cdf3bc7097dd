using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>What every router of the catalog must keep, whatever its method; a new line in the catalog is tested by
/// itself.</summary>
public sealed class RouterContractTests : TensorTests
{
    private const int Experts = 4;
    private const int Width = 6;
    private const int Rank = 2;
    private const int Tokens = 10;

    // Which golden numbers stand behind each kind; an entry without a line here fails.
    private static readonly Dictionary<string, (string File, string Case)> GoldenCases = new()
    {
        ["arrow"] = ("secondary.json", "arrow"),
        ["average-activation"] = ("phatgoose.json", "inference_routing"),
        ["blockffn"] = ("secondary.json", "blockffn_router"),
        ["chain-of-experts"] = ("second.json", "chain_of_experts"),
        ["comol"] = ("second.json", "comol"),
        ["expert-choice"] = ("secondary.json", "expert_choice"),
        ["factorllm"] = ("second.json", "factorllm_router"),
        ["ffn-split"] = ("second.json", "dense_ffn_split"),
        ["gate"] = ("phatgoose.json", "gate_training"),
        ["glider"] = ("secondary.json", "glider"),
        ["graph-of-tokens"] = ("second.json", "graph_of_tokens"),
        ["hard-soft"] = ("lora_mixer.json", "hard_routing_by_domain_id"),
        ["hydra"] = ("second.json", "hydralora"),
        ["lily"] = ("second.json", "lily"),
        ["mixlora"] = ("second.json", "mixlora_ffn_experts"),
        ["mixlora-dynamic"] = ("secondary.json", "dynamic_moe_top_p"),
        ["mixlora-switch"] = ("secondary.json", "top2_and_switch_balance_loss"),
        ["poly"] = ("secondary.json", "poly_mhr"),
        ["post-moe"] = ("second.json", "post_moe_hybrid_routing"),
        ["rexmoe"] = ("second.json", "rexmoe_progressive_routing"),
        ["phatgoose"] = ("phatgoose.json", "inference_routing"),
        ["random-projection"] = ("flylora.json", "forward_and_bias_update"),
        ["rloo"] = ("remix.json", "rloo_gradient"),
        ["rmoe"] = ("secondary.json", "rmoe_gru_router"),
        ["smora"] = ("second.json", "smora"),
        ["soft"] = ("lora_mixer.json", "soft_and_topk_routing"),
        ["spectr"] = ("second.json", "spectr"),
        ["sparsegen"] = ("secondary.json", "ldmole_sparsegen"),
        ["top-p"] = ("secondary.json", "dynamic_moe_top_p"),
        ["tsallis"] = ("dynmole.json", "routing"),
        ["union-of-experts"] = ("second.json", "union_of_experts"),
        ["x-lora"] = ("second.json", "xlora"),
        ["top-k"] = ("secondary.json", "top2_and_switch_balance_loss"),
    };

    // Routers by which a token may use no expert at all.
    private static readonly HashSet<string> MayUseNone = ["blockffn", "expert-choice", "union-of-experts"];

    // Routers whose probabilities are of all experts, whatever a token uses.
    private static readonly HashSet<string> IsOfAll = ["expert-choice", "union-of-experts"];

    // Routers that look at the tokens before one.
    private static readonly HashSet<string> LooksBack = ["graph-of-tokens"];

    public static TheoryData<string> Kinds => [.. RouterCatalog.Entries.Select(entry => entry.Kind)];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Has_golden_numbers(string kind)
    {
        Assert.True(GoldenCases.TryGetValue(kind, out var golden), $"no golden case is named for router {kind}");
        Assert.NotNull(Golden.Find(golden.File, golden.Case));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Gates_are_not_negative_and_zero_outside_the_selection(string kind)
    {
        foreach (var pass in new[] { Training(), ForwardPass.ForInference(taskIds: Tasks()) })
        {
            var decision = New(kind).Route(Inputs(), pass);

            Assert.Equal([Tokens, GatesOf(kind)], decision.Gates.shape);
            Assert.Equal([Tokens, GatesOf(kind)], decision.Selected.shape);
            Assert.Equal(ScalarType.Float32, decision.Gates.dtype);
            Assert.Equal(ScalarType.Bool, decision.Selected.dtype);
            Assert.True(decision.Gates.detach().ge(0).all().item<bool>());
            Assert.True(decision.Gates.detach().masked_fill(decision.Selected, 0).eq(0).all().item<bool>());
            Assert.True(!decision.SelectsAll || decision.Selected.all().item<bool>());
            var uses = decision.Selected.any(-1);
            Assert.True(MayUseNone.Contains(kind) || uses.all().item<bool>());
            if (decision.Probabilities is not null)
                Golden.Near(
                    (IsOfAll.Contains(kind) ? torch.ones_like(uses) : uses).to(torch.float32),
                    decision.Probabilities.sum(-1));
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Permuting_tokens_permutes_decisions(string kind)
    {
        if (LooksBack.Contains(kind))
            return;
        var router = New(kind);
        var order = torch.tensor(new long[] { 3, 0, 9, 5, 1, 8, 2, 7, 4, 6 }, [Tokens]);
        var perToken = Tasks().repeat_interleave(Tokens / 2, 0);

        var straight = router.Route(Inputs(), ForwardPass.ForInference(taskIds: perToken)).Gates.index_select(0, order);
        var permuted = router.Route(
            Inputs().index_select(0, order), ForwardPass.ForInference(taskIds: perToken.index_select(0, order))).Gates;

        Golden.Near(straight, permuted, 1e-6);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void No_later_token_changes_a_decision_unless_the_router_refuses_to_decode(string kind)
    {
        var router = New(kind);
        var x = Inputs().reshape(2, Tokens / 2, Width);

        var whole = router.Route(x, ForwardPass.ForInference(taskIds: Tasks())).Gates.reshape(
            2, Tokens / 2, GatesOf(kind)).narrow(1, 0, 3);
        var begun = router.Route(x.narrow(1, 0, 3), ForwardPass.ForInference(taskIds: Tasks())).Gates.reshape(
            2, 3, GatesOf(kind));

        if (Default(kind).WhyNoDecoding is null)
            Golden.Near(whole, begun, 1e-6);
        else
            Assert.False(whole.SameAs(begun));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void The_same_seed_gives_the_same_decision(string kind)
    {
        Assert.True(New(kind).Route(Inputs(), Training()).Gates.SameAs(New(kind).Route(Inputs(), Training()).Gates));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Inference_has_no_noise(string kind)
    {
        var router = New(kind);

        var first = router.Route(Inputs(), ForwardPass.ForInference(taskIds: Tasks())).Gates;
        var second = router.Route(Inputs(), ForwardPass.ForInference(taskIds: Tasks())).Gates;

        Assert.True(first.SameAs(second));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Gradients_reach_every_parameter_that_learns(string kind)
    {
        var router = New(kind);
        if (!router.named_parameters().Any(pair => pair.parameter.requires_grad))
            return;
        var pass = Training();
        // What goes from layer to layer arrives at the second.
        router.Route(Inputs().reshape(2, Tokens / 2, Width), pass);
        var decision = router.Route(Inputs().reshape(2, Tokens / 2, Width), pass);
        if (decision is DrawnDecision)
        {
            // Constant weights carry no gradient; the losses of the draws do.
            LearnFromDraws(router, pass, decision);
        }
        else if (decision is SliceDecision)
        {
            // Constant weights again, and losses that go by the slices.
            Default(kind).Losses().Select(term => term.Of([new("m", decision)], new RoutedTokens(null)))
                .Aggregate((sum, one) => sum + one).backward();
        }
        else
        {
            var weights = torch.arange(GatesOf(kind), torch.float32) + 1;
            (decision.Gates * weights).sum().backward();
        }

        foreach (var (name, parameter) in router.named_parameters().Where(pair => pair.parameter.requires_grad))
            Assert.True(
                parameter.grad is { } grad && grad.abs().sum().ToDouble() > 0, $"{kind}: no gradient to {name}");
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Options_survive_json_and_yaml(string kind)
    {
        var options = Default(kind);
        var json = RouterCatalog.ToJson(options).ToJsonString();
        var faults = new Faults();
        var reader = new OptionReader(ConfigJson.Parse(json, "router"), "router", faults);

        var again = RouterCatalog.Read(reader, SizeOf(kind))!;
        reader.Finish();

        Assert.False(faults.Any);
        Assert.Equal(options, again);
        Assert.Equal(json, RouterCatalog.ToJson(RouterCatalog.Read(
            new OptionReader(
                ConfigJson.Parse(ConfigText.ToJson(reader.Resolved()), "router"), "router", new Faults()),
                SizeOf(kind))!).ToJsonString());
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Padding_changes_nothing_for_real_tokens(string kind)
    {
        var router = New(kind);
        var x = Inputs().reshape(2, Tokens / 2, Width);
        var padded = torch.cat([x, torch.full([2, 3, Width], 9.0)], 1);

        var alone = router.Route(x, ForwardPass.ForInference(taskIds: Tasks())).Gates.reshape(
            2, Tokens / 2, GatesOf(kind));
        var mask = torch.arange((Tokens / 2) + 3, torch.int64).lt(Tokens / 2).expand(2, (Tokens / 2) + 3);
        var beside = router.Route(padded, ForwardPass.ForInference(taskIds: Tasks(), tokenMask: mask)).Gates.reshape(
            2, (Tokens / 2) + 3, GatesOf(kind));

        Golden.Near(alone, beside.narrow(1, 0, Tokens / 2), 1e-6);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Half_precision_inputs_are_scored_in_float32(string kind)
    {
        var decision = New(kind).Route(Inputs().to(ScalarType.BFloat16), ForwardPass.ForInference(taskIds: Tasks()));

        Assert.Equal(ScalarType.Float32, decision.Gates.dtype);
    }

    private static RouterOptions Default(string kind) =>
        RouterCatalog.Read(
            new OptionReader(ConfigJson.Parse($$"""{"kind": "{{kind}}"}""", "router"), "router", new Faults()),
            SizeOf(kind))!;

    private static Router New(string kind)
    {
        var options = Default(kind);
        var down = torch.randn([SizeOf(kind).Experts * Rank, Width], generator: Seeds.GeneratorFor(7, "down"))
            .ToParameter(false);
        return RouterCatalog.Create(
            options, new RouterContext(
                "layers.0.q_proj", Width, options.Slices ?? SizeOf(kind).Experts, Rank, 5, down)
            {
                FeedForward = new FrozenFeedForward(
                    x => x.repeat([.. Enumerable.Repeat(1L, (int)x.ndim - 1), 2]), // 12 inner numbers
                    torch.randn([Width, 2 * Width], generator: Seeds.GeneratorFor(7, "whole"))),
            });
    }

    private static RouterSize SizeOf(string kind) => new(RouterCatalog.Of(kind).HasOneAdapter ? 1 : Experts, Rank);

    private static int GatesOf(string kind) =>
        RouterCatalog.Of(kind).First is var first && first.RoutesRanks ? Rank : first.Slices ?? Experts;

    private static void LearnFromDraws(Router router, ForwardPass first, RoutingDecision decision)
    {
        first.Emit(new RoutingRecord(router.Context.Path, decision));
        var second = ForwardPass.ForTraining(Seeds.GeneratorFor(4, "noise"));
        second.Emit(
            new RoutingRecord(router.Context.Path, router.Route(Inputs().reshape(2, Tokens / 2, Width), second)));
        using var estimator = new RlooEstimator();
        estimator.Add(first, torch.tensor(new[] { 1f, 2f }, [2]));
        estimator.Add(second, torch.tensor(new[] { 1.5f, 1f }, [2]));
        estimator.AddTo([router]);
    }

    private static ForwardPass Training() => ForwardPass.ForTraining(Seeds.GeneratorFor(3, "noise"), Tasks());

    private static Tensor Tasks() => torch.tensor(new long[] { 2, 0 }, [2]);

    private static Tensor Inputs() => torch.randn([Tokens, Width], generator: Seeds.GeneratorFor(11, "inputs"));
}
