using Peft.Adapters.Lora;
using Peft.Formats;

namespace Peft.Adapters.Tests.Lora;

public sealed class TargetSelectionTests
{
    private static readonly string[] Kinds =
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
            "mlp.down_proj"];

    private static readonly string[] Paths =
    [
        .. Enumerable.Range(0, 12).SelectMany(layer => Kinds.Select(kind => $"model.layers.{layer}.{kind}")),
        "lm_head",
    ];

    [Fact]
    public void A_list_matches_the_ends_of_paths()
    {
        var chosen = Choose(new AdapterOptions { TargetModules = ModuleNames.List(["q_proj", "v_proj"]) });

        Assert.Equal(24, chosen.Count);
        Assert.All(
            chosen, path =>
                Assert.True(
                    path.EndsWith(".q_proj", StringComparison.Ordinal)
                    || path.EndsWith(".v_proj", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_list_matches_whole_paths_and_whole_segments_only()
    {
        var chosen = Choose(
            new AdapterOptions
            {
                TargetModules = ModuleNames.List(["model.layers.1.self_attn.q_proj", "mlp.up_proj"])
            });

        Assert.Equal(13, chosen.Count);
        Assert.Throws<FaultsException>(() => Choose(new AdapterOptions { TargetModules = ModuleNames.List(["proj"]) }));
    }

    [Fact]
    public void A_string_must_match_the_whole_path()
    {
        var chosen = Choose(
            new AdapterOptions { TargetModules = ModuleNames.Matching(@".*\.layers\.[01]\..*(q|k)_proj") });

        Assert.Equal(4, chosen.Count);
        Assert.Throws<FaultsException>(
            () => Choose(new AdapterOptions { TargetModules = ModuleNames.Matching("q_proj") }));
    }

    [Fact]
    public void All_linear_is_everything_but_the_output_embedding()
    {
        Assert.Equal(84, Choose(new AdapterOptions { TargetModules = ModuleNames.Matching("All-Linear") }).Count);
    }

    [Fact]
    public void Layers_narrow_a_list()
    {
        var chosen = Choose(
            new AdapterOptions { TargetModules = ModuleNames.List(["q_proj"]), LayersToTransform = [1, 11] });

        Assert.Equal(["model.layers.1.self_attn.q_proj", "model.layers.11.self_attn.q_proj"], chosen);
    }

    [Fact]
    public void A_layers_pattern_with_groups_of_its_own_still_finds_the_number() => Assert.Equal(
        ["model.layers.3.self_attn.q_proj"],
        Choose(new AdapterOptions
        {
            TargetModules = ModuleNames.List(["q_proj"]), LayersToTransform = [3], LayersPattern = ["(layers|h)"]
        }));

    [Fact]
    public void A_layers_pattern_names_the_list_of_layers()
    {
        var chosen = Choose(new AdapterOptions
        {
            TargetModules = ModuleNames.List(["q_proj"]),
            LayersToTransform = [3],
            LayersPattern = ["layers"],
        });

        Assert.Equal(["model.layers.3.self_attn.q_proj"], chosen);
    }

    [Fact]
    public void Excluded_modules_stay_out()
    {
        var chosen = Choose(
            new AdapterOptions { ExcludeModules = ModuleNames.List(["down_proj"]), LayersToTransform = [0] });

        Assert.Equal(6, chosen.Count);
        Assert.DoesNotContain("model.layers.0.mlp.down_proj", chosen);
    }

    [Fact]
    public void Patterns_give_some_modules_another_rank_and_alpha()
    {
        var options = new AdapterOptions
        {
            R = 8,
            LoraAlpha = 16,
            TargetModules = ModuleNames.List(["q_proj", "v_proj"]),
            RankPattern = [KeyValuePair.Create(@"layers\.1\.self_attn\.q_proj", 32), KeyValuePair.Create("v_proj", 4)],
            AlphaPattern = [KeyValuePair.Create("v_proj", 3.0)],
        };

        var chosen = TargetSelection.Select(Paths, "lm_head", options).ToDictionary(module => module.Path);

        Assert.Equal((8, 16.0), Sizes(chosen["model.layers.0.self_attn.q_proj"]));
        Assert.Equal((32, 16.0), Sizes(chosen["model.layers.1.self_attn.q_proj"]));
        Assert.Equal((8, 16.0), Sizes(chosen["model.layers.11.self_attn.q_proj"]));
        Assert.Equal((4, 3.0), Sizes(chosen["model.layers.1.self_attn.v_proj"]));
    }

    [Fact]
    public void A_file_whose_targets_match_nothing_says_what_there_is()
    {
        var options = new AdapterOptions { TargetModules = ModuleNames.List(["c_attn"]) };

        Assert.Equal(
            "x: target_modules: [c_attn] matches no projection; expected some of q_proj, k_proj, v_proj, o_proj, "
                + "gate_proj, up_proj, "
            + "down_proj, lm_head (85 projections in all). Choose among them, or write all-linear.",
            Assert.Throws<UserException>(
                () => TargetSelection.Select(Paths, "lm_head", options, strict: false, "x: ")).Message);
    }

    [Fact]
    public void All_linear_is_saved_as_a_list_of_names()
    {
        var all = TargetSelection.Resolved(Paths, "lm_head", new AdapterOptions());
        var some = TargetSelection.Resolved(
            Paths, "lm_head",
            new AdapterOptions { LayersToTransform = [2], ExcludeModules = ModuleNames.Matching(".*mlp.*") });

        Assert.Equal(["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"], all.Names);
        Assert.Equal(["k_proj", "o_proj", "q_proj", "v_proj"], some.Names);
    }

    private static (int R, double Alpha) Sizes(SelectedModule module) => (module.R, module.Alpha);

    private static List<string> Choose(AdapterOptions options) =>
        [.. TargetSelection.Select(Paths, "lm_head", options).Select(module => module.Path)];
}
