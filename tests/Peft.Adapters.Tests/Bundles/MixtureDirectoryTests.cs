using System.Text.Json.Nodes;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Adapters.Tests.Bundles;

public sealed class MixtureDirectoryTests : TensorTests
{
    public static TheoryData<string> Kinds => [.. RouterCatalog.Entries.Select(entry => entry.Kind)];

    private string Out => Tiny.In("out");

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_mixture_comes_back_bit_for_bit(string kind) => ComesBack(AttachmentTests.Options(kind));

    [Theory]
    [InlineData("""{"method": "mixture", "r": 2, "experts": {"count": [1, 3]}, "router": {"kind": "top-k"}}""")]
    [InlineData("""{"method": "mixture", "r": 2, "experts": {"count": 3, "layers": [1], "names": ["law", "code","""
        + """ "../maths"]}, "router": {"kind": "soft"}}""")]
    [InlineData("""{"method": "mixture", "r": 3, "lora_alpha": 5, "use_rslora": true, "target_modules": ["q_proj","""
        + """ "up_proj"], "rank_pattern": {"up_proj": 1}, "alpha_pattern": {"layers.1.mlp.up_proj": 7},"""
    + """ "experts": {"count": 2}, "router": {"kind": "top-p"}}""")]
    [InlineData("""{"method": "mixture", "r": 2, "target_modules": ".*mlp.*", "experts": {"count": 3},"""
        + """ "router": {"kind": "hard-soft", "stage": "hard"}}""")]
    [InlineData("""{"method": "mixture", "r": 2, "experts": {"count": [1, 3], "shared": 2},"""
        + """ "router": {"kind": "top-k"}}""")]
    public void So_do_layouts_patterns_and_names(string options) => ComesBack(AdapterOptionsTests.Read(options));

    [Theory]
    [InlineData("""{"method": "mixture", "r": 2, "experts": {"count": 3}, "router": {"kind": "top-k"}}""")]
    [InlineData("""{"method": "mixture", "r": 2, "rank_pattern": {"up_proj": 3}, "experts": {"count": 2},"""
        + """ "router": {"kind": "rloo"}}""")]
    [InlineData("""{"method": "mixture", "r": 4, "router": {"kind": "random-projection", "top_k": 2}}""")]
    [InlineData("""{"method": "mixture", "r": 2, "experts": {"count": [1, 3], "shared": 2},"""
        + """ "router": {"kind": "top-k"}}""")]
    [InlineData("""{"method": "mixture", "r": 3, "lora_alpha": 5, "use_rslora": true, "experts": {"count": [1, 3]},"""
        + """ "router": {"kind": "top-k"}}""")]
    public void Each_part_gives_an_independent_reader_the_logits_of_that_expert_alone(string options)
    {
        var adapted = Trained(AdapterOptionsTests.Read(options));
        Write(adapted);
        var probe = new AdapterProbe(adapted);

        var parts = MixturePart.Of(adapted);

        Assert.NotEmpty(parts);
        Assert.All(parts, part => Golden.Near(
            probe.LogitsOf(TinyModel.Ids, part), IndependentPeft.Logits(
                Tiny.New(), Path.Combine(Out, part.Name))));
    }

    [Fact]
    public void A_forced_expert_is_what_the_hard_router_gives_its_task()
    {
        var adapted = Trained(AdapterOptionsTests.Read(
            """{"method": "mixture", "r": 2, "experts": {"count": 3}, "router": {"kind": "hard-soft","""
            + """ "stage": "hard"}}"""));
        var routed = TinyModel.Logits(adapted.Model, torch.tensor(new long[] { 2, 2 }, [2]));

        Golden.Near(routed, new AdapterProbe(adapted).LogitsOf(TinyModel.Ids, 2));
    }

    [Fact]
    public void Layers_without_a_router_are_a_part_of_their_own()
    {
        Write(Trained(AdapterOptionsTests.Read("""{"method": "mixture", "r": 2, "experts": {"count": [1, 3]},"""
            + """ "router": {"kind": "top-k"}}""")));

        var shared = PeftDirectory.Read(Path.Combine(Out, "shared"));
        var expert = PeftDirectory.Read(Path.Combine(Out, "expert_2"));

        Assert.All(
            shared.Modules, module => Assert.StartsWith("model.layers.0.", module.Path, StringComparison.Ordinal));
        Assert.All(
            expert.Modules, module => Assert.StartsWith("model.layers.1.", module.Path, StringComparison.Ordinal));
        Assert.Equal(7, expert.Config.TargetModules.Count);
    }

    [Theory]
    [InlineData("\"router.safetensors\"", "\"../router.safetensors\"")]
    [InlineData("\"expert_0/adapter_config.json\"", "\"expert_0/../../out/expert_0/adapter_config.json\"")]
    [InlineData("\"expert_0/adapter_config.json\"", "\"/etc/passwd\"")]
    [InlineData("\"expert_0/adapter_config.json\"", "\"expert_00/adapter_config.json\"")]
    [InlineData("\"expert_0/adapter_config.json\"", "\"expert_0\\\\adapter_config.json\"")]
    public void A_manifest_may_not_lead_out_of_the_directory(string was, string leads)
    {
        Write(Trained(AttachmentTests.Options("top-k")));
        EditManifest(text => text.Replace(was, leads, StringComparison.Ordinal));

        var error = Assert.Throws<FaultsException>(() => MixtureDirectory.Open(Out));

        Assert.Contains("the files of an exported mixture", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Neither_may_a_link()
    {
        Write(Trained(AttachmentTests.Options("top-k")));
        Directory.Move(Path.Combine(Out, "expert_1"), Tiny.In("elsewhere"));
        Directory.CreateSymbolicLink(Path.Combine(Out, "expert_1"), Tiny.In("elsewhere"));

        Assert.Contains(
            "a link to", Assert.Throws<FaultsException>(() => MixtureDirectory.Open(Out)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Changed_and_missing_files_are_named_together()
    {
        Write(Trained(AttachmentTests.Options("top-k")));
        File.AppendAllText(Path.Combine(Out, "expert_1", "adapter_config.json"), " ");
        File.Delete(Path.Combine(Out, "router.safetensors"));

        var error = Assert.Throws<FaultsException>(() => Bundle.Open(Out).Attach(Tiny.New()));

        Assert.Contains("expert_1/adapter_config.json", error.Message, StringComparison.Ordinal);
        Assert.Contains("router.safetensors", error.Message, StringComparison.Ordinal);
        Assert.Contains("missing", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_expert_that_is_not_listed_is_missed()
    {
        Write(Trained(AttachmentTests.Options("top-k")));
        EditManifest(text =>
        {
            var json = JsonNode.Parse(text)!;
            json["files"]!.AsObject().Remove("expert_3/adapter_model.safetensors");
            return json.ToJsonString();
        });

        var error = Assert.ThrowsAny<UserException>(() => Bundle.Open(Out).Attach(Tiny.New()));

        Assert.EndsWith(
            "mixture.json: lists no expert_3; expected every part of the mixture. Export it again.", error.Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_manifest_that_claims_more_than_the_files_hold_is_refused_before_memory_is_taken()
    {
        Write(Trained(AttachmentTests.Options("top-k")));
        EditManifest(text => text.Replace("\"count\": 4", "\"count\": 4096", StringComparison.Ordinal));

        var error = Assert.Throws<UserException>(() => Bundle.Open(Out).Attach(Tiny.New()));

        Assert.EndsWith(
            "mixture.json: lists no expert_4; expected every part of the mixture. Export it again.", error.Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Another_base_is_refused_with_both_names()
    {
        Write(Trained(AttachmentTests.Options("top-k")));
        var other = new BaseIdentity("example/other", new string('b', 64));

        var error = Assert.Throws<UserException>(
            () => Bundle.Open(Out).Attach(Tiny.New(), new AttachOptions { Base = other }));

        Assert.Contains("trained on example/tiny-llama", error.Message, StringComparison.Ordinal);
        Assert.Contains("the base given is example/other", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Cards_tell_what_a_directory_is_and_how_to_load_it()
    {
        var adapted = Trained(AdapterOptionsTests.Read(
            """{"method": "mixture", "r": 2, "experts": {"count": 2, "names": ["law", "code"]},"""
            + """ "router": {"kind": "top-k"}}"""));
        MixtureDirectory.Write(
            Out, TinyBundle.Contents(adapted), new CardFacts { Metrics = [new("spam", "accuracy", 0.875, 40)] });

        var root = File.ReadAllText(Path.Combine(Out, "README.md"));
        var expert = File.ReadAllText(Path.Combine(Out, "expert_1", "README.md"));

        Assert.Contains("peft adapter import", root, StringComparison.Ordinal);
        Assert.Contains(
            "model-index:\n- name: \"Mixture of 2 LoRA experts (top-k) for example/tiny-llama\"\n", root,
            StringComparison.Ordinal);
        Assert.Contains("    - type: \"accuracy\"\n      value: 0.875\n", root, StringComparison.Ordinal);
        Assert.Contains("| train.jsonl | ", root, StringComparison.Ordinal);
        Assert.StartsWith(
            "---\nbase_model: \"example/tiny-llama\"\nlibrary_name: peft\n", expert, StringComparison.Ordinal);
        Assert.Contains("# Expert 1 (code) for example/tiny-llama", expert, StringComparison.Ordinal);
        Assert.Contains("PeftModel.from_pretrained", expert, StringComparison.Ordinal);
    }

    private void ComesBack(AdapterOptions options)
    {
        var adapted = Trained(options);
        BundleWriter.Write(Tiny.In("bundle"), TinyBundle.Contents(adapted));
        Write(adapted);
        var manifest = MixtureDirectory.Open(Out);

        var again = Bundle.Open(Out).Attach(Tiny.New(), new AttachOptions { Base = TinyBundle.Base });
        BundleWriter.Write(Tiny.In("again"), new BundleContents
        {
            Adapted = again,
            Base = manifest.Base,
            Earlier = manifest,
            ResolvedRecipe = File.ReadAllText(Path.Combine(Out, "recipe.resolved.yaml")),
        });

        Assert.All(
            Directory.GetFiles(Tiny.In("bundle")),
            file => Assert.Equal(
                File.ReadAllBytes(file), File.ReadAllBytes(Tiny.In("again", Path.GetFileName(file)))));
    }

    private void Write(AdaptedModel adapted) =>
        AtomicDirectory.Replace(
            Out, folder => MixtureDirectory.Write(folder, TinyBundle.Contents(adapted), CardFacts.None));

    private void EditManifest(Func<string, string> edit)
    {
        var path = Path.Combine(Out, MixtureDirectory.Manifest);
        var text = File.ReadAllText(path);
        var edited = edit(text);
        Assert.NotEqual(text, edited);
        File.WriteAllText(path, edited);
    }

    private AdaptedModel Trained(AdapterOptions options) => TinyBundle.Trained(Tiny, options);
}
