using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Tests.Lora;

public sealed class AdapterOptionsTests
{
    [Fact]
    public void Defaults_are_plain_lora_on_every_linear()
    {
        var options = Read("{}");

        Assert.True(options.IsPlainLora);
        Assert.True(options.TargetModules.IsAllLinear);
        Assert.Equal((8, 16.0, 1), (options.R, options.LoraAlpha, options.Experts.Count));
    }

    [Fact]
    public void Alpha_defaults_to_twice_the_rank()
    {
        Assert.Equal(64, Read("""{"r": 32}""").LoraAlpha);
    }

    [Fact]
    public void A_mixture_of_one_without_a_router_is_plain_lora()
    {
        Assert.True(Read("""{"method": "mixture", "experts": {"count": 1}, "router": {"kind": "none"}}""").IsPlainLora);
    }

    [Fact]
    public void Names_of_experts_give_their_number()
    {
        var options = Read("""{"method": "mixture", "experts": {"names": ["law", "code", "maths"]}}""");

        Assert.Equal(3, options.Experts.Count);
        Assert.Equal("code", options.Experts.NameOf(1));
        Assert.IsType<TopKRouterOptions>(options.Router);
    }

    [Fact]
    public void Every_fault_is_shown_at_once()
    {
        var error = Assert.Throws<FaultsException>(() => Read("""
            {"method": "mixture", "r": 0, "target_modules": "(", "init_lora_weights": "pissa",
             "layers_to_transform": [0], "experts": {"count": 4}, "router": {"kind": "top-k", "top_k": 9, "jiter": 1}}
            """));

        foreach (
            var part in new[] {
                "r ", "target_modules", "init_lora_weights", "router.top_k", "layers_to_transform", "router.jiter" })
            Assert.Contains(part, error.Message, StringComparison.Ordinal);
        Assert.Contains("from 1 to 4", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_router_needs_the_method_mixture()
    {
        var error = Assert.Throws<FaultsException>(() => Read("""{"method": "lora", "router": {"kind": "soft"}}"""));

        Assert.Contains("no router with method: lora", error.Message, StringComparison.Ordinal);
        Assert.Contains("Write method: mixture", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Experts_without_a_router_are_refused()
    {
        var error = Assert.Throws<FaultsException>(() => Read("""{"method": "mixture", "experts": {"count": 2},"""
            + """ "router": {"kind": "none"}}"""));

        Assert.Contains("a router where there are several experts", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Rslora_divides_by_the_root_of_the_rank()
    {
        Assert.Equal(4, new AdapterOptions { UseRslora = true }.ScaleOf(16, 16, 8));
        Assert.Equal(1, new AdapterOptions().ScaleOf(16, 16, 8));
    }

    [Theory]
    [InlineData("""{"r": 4, "lora_alpha": 3.5, "lora_dropout": 0.05, "use_rslora": true,"""
        + """ "target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1, 2], "layers_pattern": "layers"}""")]
    [InlineData("""{"target_modules": ".*q_proj", "exclude_modules": ["lm_head"], "rank_pattern": {"q_proj": 2},"""
        + """ "alpha_pattern": {"q_proj": 1.5}, "init_lora_weights": "gaussian"}""")]
    [InlineData("""{"method": "mixture", "experts": {"count": 3, "names": ["a", "b", "c"], "train": false},"""
        + """ "router": {"kind": "hard", "top_k": 2, "normalize": false, "balance": {"kind": "switch","""
    + """ "coefficient": 0.01, "scope": "model"}}}""")]
    public void Options_survive_json_and_yaml(string text)
    {
        var options = Read(text);
        var json = options.ToJson().ToJsonString();

        Assert.Equal(json, Read(json).ToJson().ToJsonString());
        Assert.Equal(json, Read(Resolved(text)).ToJson().ToJsonString());
    }

    [Theory]
    [InlineData("""{"rank_pattern": 5}""", "rank_pattern", "5", "a section of keys")]
    [InlineData("""{"alpha_pattern": ["q_proj"]}""", "alpha_pattern", "a list of 1 item", "a section of keys")]
    [InlineData("""{"rank_pattern": {"(": 2}}""", "rank_pattern.(", "'('", "or a regular expression for it")]
    [InlineData("""{"rank_pattern": {"q_proj": 65537}}""", "rank_pattern.q_proj", "65537", "from 1 to 65536")]
    [InlineData("""{"layers_to_transform": [0],"""
        + """ "layers_pattern": ["(x"]}""", "layers_pattern", "'(x'", "the name of a list of layers")]
    [InlineData("""{"layers_to_transform": [-1]}""", "layers_to_transform", "-1", "of at least 0")]
    [InlineData("""{"method": "mixture", "experts": {"count": 4097}}""", "experts.count", "4097", "from 1 to 4096")]
    public void A_value_that_cannot_be_is_a_fault_of_its_key(string json, params string[] parts)
    {
        var error = Assert.Throws<FaultsException>(() => Read(json));
        Assert.All(parts, part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
    }

    internal static AdapterOptions Read(string json)
    {
        var faults = new Faults();
        var reader = new OptionReader(ConfigJson.Parse(json, "adapter"), "", faults);
        var options = AdapterOptions.Read(reader);
        reader.Finish();
        faults.ThrowIfAny("adapter");
        return options;
    }

    private static string Resolved(string json)
    {
        var reader = new OptionReader(ConfigJson.Parse(json, "adapter"), "", new Faults());
        AdapterOptions.Read(reader);
        return ConfigText.ToJson(reader.Resolved());
    }
}
