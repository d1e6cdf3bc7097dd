using Peft.Adapters.Lora;
using Peft.Formats;

namespace Peft.Adapters.Tests.Lora;

/// <summary>In a recipe every name, pattern and number must select something; in a file of PEFT's it need
/// not.</summary>
public sealed class SelectorTests
{
    private static readonly List<string> Paths =
        [.. Enumerable.Range(0, 4).SelectMany(layer => new[] { "self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj" }
            .Select(name => $"model.layers.{layer}.{name}")), "lm_head"];

    [Theory]
    [InlineData("""{"target_modules": ["q_proj", "v_prj"]}""",
        "adapter.target_modules: 'v_prj' matches no projection; expected some of q_proj, v_proj, up_proj, lm_head. "
            + "Did you mean v_proj?")]
    [InlineData("""{"target_modules": ["q_proj", "v_proj"], "exclude_modules": ["v_proj"]}""",
        "adapter.target_modules: 'v_proj' is left out by exclude_modules or layers_to_transform; expected a module "
            + "that is adapted.")]
    [InlineData("""{"target_modules": ".*q_prj"}""",
        "adapter.target_modules: '.*q_prj' matches no whole path of a projection; expected some of q_proj, v_proj, "
            + "up_proj, lm_head. "
        + "Did you mean q_proj?")]
    [InlineData("""{"exclude_modules": "q_proj"}""",
        "adapter.exclude_modules: 'q_proj' matches no whole path of a projection; expected some of q_proj, v_proj, "
            + "up_proj, lm_head. "
        + "A text must match the whole path: write [q_proj] for a list.")]
    [InlineData("""{"exclude_modules": ["vproj"]}""",
        "adapter.exclude_modules: 'vproj' matches no projection; expected some of q_proj, v_proj, up_proj, lm_head. "
            + "Did you mean v_proj?")]
    [InlineData("""{"exclude_modules": ["layers.0"]}""",
        "adapter.exclude_modules: 'layers.0' matches no projection; expected some of q_proj, v_proj, up_proj, "
        + "lm_head.")]
    [InlineData("""{"exclude_modules": "mlp"}""",
        "adapter.exclude_modules: 'mlp' matches no whole path of a projection; expected some of q_proj, v_proj, "
            + "up_proj, lm_head.")]
    [InlineData("""{"target_modules": ["q_proj"], "exclude_modules": ["up_proj"]}""",
        "adapter.exclude_modules: 'up_proj' leaves nothing out: target_modules does not choose it. Remove it.")]
    [InlineData("""{"exclude_modules": ["lm_head"]}""",
        "adapter.exclude_modules: 'lm_head' leaves nothing out: target_modules does not choose it. Remove it.")]
    [InlineData("""{"target_modules": ["q_proj"], "layers_to_transform": [1], "exclude_modules": ".*layers\\.2.*"}""",
        "adapter.exclude_modules: '.*layers\\.2.*' leaves nothing out: target_modules does not choose it. Remove it.")]
    [InlineData("""{"layers_to_transform": [1, 99]}""",
        "adapter.layers_to_transform: layer 99; expected layers from 0 to 3.")]
    [InlineData("""{"target_modules": ["model.layers.1.self_attn.q_proj"], "layers_to_transform": [2]}""",
        "adapter.layers_to_transform: layer 2 has no adapted projection; expected a layer with one.")]
    [InlineData("""{"layers_to_transform": [1], "layers_pattern": ["layers", "blocks"]}""",
        "adapter.layers_pattern: 'blocks' matches no list of layers; expected a name as in "
            + "model.layers.0.self_attn.q_proj.")]
    [InlineData("""{"target_modules": ["q_proj"], "rank_pattern": {"v_proj": 2}}""",
        "adapter.rank_pattern: 'v_proj' matches no adapted projection; expected some of q_proj. Did you mean q_proj?")]
    [InlineData("""{"alpha_pattern": {"^q_proj": 100}}""",
        "adapter.alpha_pattern: '^q_proj' matches no adapted projection; expected some of q_proj, v_proj, up_proj. "
            + "Did you mean q_proj?")]
    [InlineData("""{"alpha_pattern": {"attn.q_proj": 100}}""",
        "adapter.alpha_pattern: 'attn.q_proj' matches no adapted projection; expected some of q_proj, v_proj, up_proj. "
        + "Did you mean self_attn.q_proj?")]
    [InlineData("""{"rank_pattern": {"q_proj": 2, "layers.1.self_attn.q_proj": 4}}""",
        "adapter.rank_pattern: 'layers.1.self_attn.q_proj' has no effect behind 'q_proj', which matches first. Put it "
            + "first.")]
    [InlineData("""{"method": "mixture", "layers_to_transform": [0, 1], "experts": {"layers": [1, 2]}}""",
        "adapter.experts.layers: layer 2 has no adapted projection; expected a layer with one.")]
    public void A_selector_that_selects_nothing_is_refused_with_the_nearest_name(string options, string expected)
    {
        var read = AdapterOptionsTests.Read(options);

        var error = Assert.Throws<FaultsException>(() => TargetSelection.Select(Paths, "lm_head", read));

        Assert.Equal([expected], error.Items.Select(fault => fault.ToString()));
    }

    [Theory]
    [InlineData("""{"target_modules": ["q_proj", "c_attn"], "exclude_modules": ["lm_head", "wte"]}""", 4)]
    [InlineData("""{"rank_pattern": {"c_attn": 2}, "alpha_pattern": {"wte": 3}, "layers_to_transform": [0, 99]}""", 3)]
    public void A_file_may_name_what_the_base_lacks(string options, int count) => Assert.Equal(
        count, TargetSelection.Select(Paths, "lm_head", AdapterOptionsTests.Read(options), strict: false).Count);

    [Fact]
    public void All_of_them_are_told_at_once()
    {
        var read = AdapterOptionsTests.Read(
            """{"target_modules": ["q_prj"], "exclude_modules": ["x"], "rank_pattern": {"y": 1},"""
            + """ "layers_to_transform": [7]}""");

        Assert.Equal(
            ["adapter.target_modules", "adapter.exclude_modules", "adapter.layers_to_transform",
                "adapter.rank_pattern"],
            Assert.Throws<FaultsException>(() => TargetSelection.Select(Paths, "lm_head", read)).Items.Select(
                fault => fault.Place));
    }
}
