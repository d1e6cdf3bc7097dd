using Peft.Adapters.Routing;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Tests.Lora;

/// <summary>A key that does nothing beside another one is found, so that a run can say so.</summary>
public sealed class IneffectiveKeyTests
{
    [Theory]
    [InlineData("""{"method": "mixture", "lora_alpha": 3, "use_rslora": true,"""
        + """ "router": {"kind": "rloo"}}""", "lora_alpha", "use_rslora")]
    [InlineData("""{"method": "mixture", "alpha_pattern": {"q_proj": 3},"""
        + """ "router": {"kind": "rloo"}}""", "alpha_pattern")]
    [InlineData("""{"method": "mixture", "init_lora_weights": "gaussian","""
        + """ "router": {"kind": "random-projection"}}""", "init_lora_weights")]
    [InlineData("""{"method": "mixture", "router": {"kind": "top-k", "balance": {"coefficient": 0.5,"""
        + """ "scope": "model"}}}""",
        "router.balance.coefficient", "router.balance.scope")]
    [InlineData("""{"method": "mixture", "router": {"kind": "soft", "balance": {"kind": "localized","""
        + """ "task_types": [1], "scope": "model"}}}""",
        "router.balance.scope")]
    [InlineData("""{"method": "mixture", "router": {"kind": "hard-soft", "stage": "hard", "normalize": false,"""
        + """ "preservation": 1}}""",
        "router.normalize", "router.preservation")]
    [InlineData("""{"method": "mixture", "router": {"kind": "hard-soft", "stage": "hard", "top_k": 2,"""
        + """ "granularity": "attention-block"}}""",
        "router.top_k", "router.granularity")]
    [InlineData("""{"method": "mixture", "experts": {"count": {"shape": "uniform", "min": 3, "max": 4}},"""
        + """ "router": {"kind": "top-k"}}""", "experts.count.min")]
    [InlineData("""{"method": "mixture", "experts": {"count": {"shape": "wave", "min": 3, "max": 4}},"""
        + """ "router": {"kind": "top-k"}}""")]
    [InlineData("""{"method": "mixture", "router": {"kind": "hard-soft", "specialization": {"coefficient": 0,"""
        + """ "lambda": 1, "load_top_k": 3}}}""",
        "router.specialization.lambda", "router.specialization.load_top_k")]
    [InlineData("""{"method": "mixture", "experts": {"train": false}, "router": {"kind": "hard-soft","""
        + """ "preservation": 1}}""", "router.preservation")]
    [InlineData("""{"method": "mixture", "router": {"kind": "sparsegen", "target_k": 3,"""
        + """ "sparsity_coefficient": 0}}""", "router.target_k")]
    [InlineData("""{"method": "mixture", "router": {"kind": "tsallis", "threshold": 1, "entropy_coefficient": 0,"""
        + """ "entropy_index": 2}}""",
        "router.entropy_index")]
    [InlineData("""{"method": "mixture", "router": {"kind": "top-p", "balance": {"kind": "none"}}}""")]
    [InlineData("""{"method": "mixture", "router": {"kind": "top-k", "balance": {"kind": "switch","""
        + """ "coefficient": 0.5, "scope": "model"}}}""")]
    [InlineData("""{"lora_alpha": 3, "use_rslora": true, "init_lora_weights": "gaussian"}""")]
    public void Keys_that_do_nothing_are_found(string options, params string[] keys) =>
        Assert.Equal(keys, AdapterOptionsTests.Read(options).Ineffective().Select(key => key.Key));

    // Each expert has every token then, so that the loss is the number of experts, whatever the probabilities are.
    [Theory]
    [InlineData("soft", "")]
    [InlineData("hydra", "")]
    [InlineData("lily", "")]
    [InlineData("hard-soft", "")]
    [InlineData("x-lora", "")]
    [InlineData("ffn-split", "")]
    [InlineData("post-moe", """ "top_k": 4, """)]
    [InlineData("top-k", """ "top_k": 4, """)]
    public void The_switch_loss_needs_a_choice(string kind, string more)
    {
        var options = AdapterOptionsTests.Read($$$"""
            {"method": "mixture", "router": {"kind": "{{{kind}}}", {{{more}}} "balance": {"kind": "switch"} } }
            """);

        var key = options.Ineffective().Single();

        Assert.Equal("router.balance.kind", key.Key);
        Assert.Equal($"router.kind: {kind}, where every token gets all experts", key.Beside);
        var p = torch.tensor(new[] { 0.1f, 0.2f, 0.3f, 0.4f }, [1, 4]);
        Assert.Equal(4, SwitchBalanceLoss.Of(p, torch.ones_like(p).to(torch.@bool), null).ToDouble(), 1e-6);
    }

    [Theory]
    [InlineData("""{"kind": "gate", "balance": {"kind": "localized", "task_types": [1]}}""", "router.kind: gate")]
    [InlineData("""{"kind": "hard-soft", "stage": "hard", "balance": {"kind": "switch"}}""", "router.stage: hard")]
    public void A_balance_needs_probabilities(string router, string beside) => Assert.Contains(
        new IneffectiveKey("router.balance.kind", beside),
        AdapterOptionsTests.Read($$"""{"method": "mixture", "router": {{router}}}""").Ineffective());

    [Theory]
    [InlineData("""{"kind": "mixlora"}""")]
    [InlineData("""{"kind": "top-k", "top_k": 1, "balance": {"kind": "switch"}}""")]
    [InlineData("""{"kind": "soft", "balance": {"kind": "localized", "task_types": [1]}}""")]
    public void Balances_that_are_the_methods_own_or_do_something_are_not_named(string router) => Assert.Empty(
        AdapterOptionsTests.Read(
            $$"""{"method": "mixture", "experts": {"count": 2}, "router": {{router}}}""").Ineffective());

    [Fact]
    public void What_makes_a_key_do_nothing_is_said()
    {
        var options = AdapterOptionsTests.Read("""{"method": "mixture", "router": {"kind": "top-k","""
            + """ "balance": {"coefficient": 0.5}}}""");

        Assert.Equal("router.balance.kind: none", options.Ineffective().Single().Beside);
    }
}
