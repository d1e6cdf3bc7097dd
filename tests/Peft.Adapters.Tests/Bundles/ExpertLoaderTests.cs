using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Tests.Bundles;

public sealed class ExpertLoaderTests : TensorTests
{
    private static readonly BaseIdentity Base = new("tiny", "f");

    [Fact]
    public void Plain_loras_of_other_ranks_and_scales_become_experts_that_compute_the_same()
    {
        var law = Train("law", """{"r": 2, "lora_alpha": 6}""", 1);
        var code = Train("code", """{"r": 3, "lora_alpha": 5, "use_rslora": true, "target_modules": ["q_proj","""
            + """ "up_proj"]}""", 2);
        var mixture = AdapterAttachment.Attach(Tiny.New(), Hard("""{"count": 2}""", 4), seed: 1);

        ExpertLoader.Load(mixture, [Tiny.In("law"), Tiny.In("code")]);

        Golden.Near(law, TinyModel.Logits(mixture.Model, Tasks(0)), 1e-5);
        Golden.Near(code, TinyModel.Logits(mixture.Model, Tasks(1)), 1e-5);
    }

    [Fact]
    public void The_experts_of_stage_one_go_into_stage_two()
    {
        var stageOne = AdapterAttachment.Attach(Tiny.New(), Hard("""{"count": 2}""", 2), seed: 1);
        AttachmentTests.FillUp(stageOne);
        BundleWriter.Write(Tiny.In("one"), new BundleContents { Adapted = stageOne, Base = Base });
        var stageTwo = AdapterAttachment.Attach(
            Tiny.New(), AdapterOptionsTests.Read("""{"method": "mixture", "r": 2, "experts": {"count": 2},"""
                + """ "router": {"kind": "hard-soft"}}"""), seed: 5);

        ExpertLoader.Load(stageTwo, [Tiny.In("one")]);

        Assert.All(
            stageOne.Modules.Zip(stageTwo.Modules),
            pair => Assert.True(pair.First.Up.SameAs(pair.Second.Up) && pair.First.Down.SameAs(pair.Second.Down)));
    }

    [Fact]
    public void Experts_of_projections_that_the_mixture_does_not_adapt_and_of_another_base_are_refused()
    {
        var trained = AdapterAttachment.Attach(Tiny.New(), Hard("""{"count": 2}""", 2), seed: 1);
        BundleWriter.Write(Tiny.In("one"), new BundleContents { Adapted = trained, Base = Base });
        var narrow = AdapterAttachment.Attach(
            Tiny.New(), Hard("""{"count": 2}""", 2) with { TargetModules = ModuleNames.List(["q_proj", "v_proj"]) },
            seed: 1);

        var faults = Assert.Throws<FaultsException>(() => ExpertLoader.Load(narrow, [Tiny.In("one")]));
        var other = Assert.Throws<UserException>(
            () => ExpertLoader.Load(narrow, [Tiny.In("one")], new("other", "0123456789abcdef")));

        Assert.Contains(
            "base_model.model.model.layers.0.mlp.down_proj.lora_A.experts  not used; expected only projections that "
                + "this mixture adapts. Widen adapter.target_modules.", faults.Message, StringComparison.Ordinal);
        Assert.StartsWith($"adapter.experts.from: {Tiny.In("one")}, trained on tiny (", other.Message);
    }

    [Fact]
    public void The_skills_of_a_poly_mixture_become_one_lora_by_their_means()
    {
        var skills = AdapterAttachment.Attach(
            Tiny.New(), AdapterOptionsTests.Read("""{"method": "mixture", "r": 2, "experts": {"count": 3},"""
                + """ "router": {"kind": "poly"}}"""), seed: 1);
        AttachmentTests.FillUp(skills);
        BundleWriter.Write(Tiny.In("skills"), new BundleContents { Adapted = skills, Base = Base });
        var one = AdapterAttachment.Attach(
            Tiny.New(), AdapterOptionsTests.Read("""{"r": 2, "lora_alpha": 4}"""), seed: 5);

        ExpertLoader.Load(one, [Tiny.In("skills")]);

        foreach (var (skill, lora) in skills.Modules.Zip(one.Modules))
        {
            Golden.Near((skill.DownOf(0) + skill.DownOf(1) + skill.DownOf(2)) / 3, lora.Down, 1e-6);
            // The skills' scale is 1 / r, the LoRA's alpha / r.
            Golden.Near((skill.UpOf(0) + skill.UpOf(1) + skill.UpOf(2)) / 3 / 4, lora.Up, 1e-6);
        }

        BundleWriter.Write(Tiny.In("hard"), new BundleContents
        {
            Adapted = AdapterAttachment.Attach(Tiny.New(), Hard("""{"count": 2}""", 2), seed: 1),
            Base = Base,
        });
        Assert.Equal(
            $"{Tiny.In("hard")}: a mixture behind router hard-soft; expected a plain LoRA, or a mixture behind router "
                + "poly, whose experts are averaged into one. Its experts were not trained to be averaged.",
            Assert.Throws<UserException>(() => ExpertLoader.Load(one, [Tiny.In("hard")])).Message);
    }

    [Fact]
    public void Loras_cannot_go_into_experts_that_have_one_A()
    {
        Train("law", """{"r": 2}""", 1);
        var hydra = AdapterAttachment.Attach(
            Tiny.New(), AdapterOptionsTests.Read("""{"method": "mixture", "r": 2, "experts": {"count": 2},"""
                + """ "router": {"kind": "hydra"}}"""), seed: 1);

        Assert.Equal(
            "adapter.experts.from: 2 directories, each with a lora_A of its own; expected one bundle of a mixture "
                + "behind router hydra, whose experts have one lora_A together.",
            Assert.Throws<UserException>(() => ExpertLoader.Load(hydra, [Tiny.In("law"), Tiny.In("law")])).Message);
    }

    [Fact]
    public void Numbers_ranks_and_modules_that_do_not_fit_are_named()
    {
        Train("law", """{"r": 4}""", 1);
        var narrow = AdapterAttachment.Attach(
            Tiny.New(),
            Hard("""{"count": 2}""", 2) with { TargetModules = ModuleNames.List(["q_proj"]) },
            seed: 1);

        var number = Assert.Throws<UserException>(
            () => ExpertLoader.Load(narrow, [Tiny.In("law"), Tiny.In("law"), Tiny.In("law")]));
        var fit = Assert.Throws<FaultsException>(() => ExpertLoader.Load(narrow, [Tiny.In("law"), Tiny.In("law")]));

        Assert.Contains("3 directories for 2 experts", number.Message, StringComparison.Ordinal);
        Assert.Contains("rank up to 2", fit.Message, StringComparison.Ordinal);
        Assert.Contains("Widen adapter.target_modules.", fit.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[1, 2]", "one LoRA for all", 2)]
    [InlineData("[2, 3]", "2 experts", 3)]
    public void Loras_need_an_expert_for_each_in_every_projection(string counts, string has, int directories)
    {
        Train("law", """{"r": 2}""", 1);
        var mixture = AdapterAttachment.Attach(Tiny.New(), Hard($$"""{"count": {{counts}}}""", 2), seed: 1);

        Assert.Equal(
            $"adapter.experts.from: {directories} directories, while model.layers.0.self_attn.q_proj has {has}; "
                + $"expected {directories} experts in every adapted projection. Write one number as "
                + "adapter.experts.count and no adapter.experts.layers, or leave the projection out of "
                + "adapter.target_modules or adapter.layers_to_transform.",
            Assert.Throws<UserException>(() => ExpertLoader.Load(
                mixture, [.. Enumerable.Repeat(Tiny.In("law"), directories)])).Message);
    }

    [Theory]
    [InlineData("""{"r": 2, "trainable_token_indices": [3]}""", "model.embed_tokens.token_adapter.trainable_tokens_delta")]
    [InlineData(
        """{"r": 2, "target_modules": ["q_proj", "embed_tokens"]}""", "model.embed_tokens.lora_embedding_A")]
    public void What_a_lora_holds_beside_projections_is_not_passed_over(string trained, string name)
    {
        Train("law", """{"r": 2}""", 1);
        Train("more", trained, 1);
        var mixture = AdapterAttachment.Attach(Tiny.New(), Hard("""{"count": 2}""", 2), seed: 1);

        var error = Assert.Throws<FaultsException>(
            () => ExpertLoader.Load(mixture, [Tiny.In("law"), Tiny.In("more")]));

        Assert.Contains($"{Tiny.In("more")} as expert 1 has ", error.Message, StringComparison.Ordinal);
        Assert.Contains(
            $"  base_model.model.{name}  not used; expected a LoRA of projections alone for each expert. To train on "
                + "with all that an adapter holds, name it as adapter.from.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_lora_that_adapts_nothing_is_refused()
    {
        Train("law", """{"r": 2}""", 1);
        Train("none", """{"r": 2}""", 1);
        File.Delete(Tiny.In("none", "bundle.json"));
        SafetensorsWriter.WriteFile(Tiny.In("none", "adapter_model.safetensors"), []);
        var mixture = AdapterAttachment.Attach(Tiny.New(), Hard("""{"count": 2}""", 2), seed: 1);

        var error = Assert.Throws<FaultsException>(
            () => ExpertLoader.Load(mixture, [Tiny.In("law"), Tiny.In("none")]));

        Assert.Equal(
            $"""
            {Tiny.In("none")} as expert 1 has 1 fault:
              adapter_model.safetensors  no adapted projection; expected at least one that this mixture adapts.
            """, error.Message);
    }

    [Fact]
    public void A_lora_whose_tensors_are_no_matrices_is_refused()
    {
        Train("law", """{"r": 2}""", 1);
        var path = Tiny.In("law", "adapter_model.safetensors");
        var file = SafetensorsFile.Open(path);
        SafetensorsWriter.WriteFile(path, [.. file.Entries.Values.Select(entry => new SafetensorsWrite(
            entry.Name, entry.Dtype, [entry.Shape[0] * entry.Shape[1]], stream =>
                stream.Write(new byte[entry.ByteCount])))]);
        File.Delete(Tiny.In("law", "bundle.json"));
        var mixture = AdapterAttachment.Attach(Tiny.New(), Hard("""{"count": 2}""", 2), seed: 1);

        var error = Assert.Throws<FaultsException>(
            () => ExpertLoader.Load(mixture, [Tiny.In("law"), Tiny.In("law")]));

        Assert.Contains("shape [32]", error.Message, StringComparison.Ordinal);
    }

    private static AdapterOptions Hard(string experts, int r) => AdapterOptionsTests.Read(
        $$$"""{"method": "mixture", "r": {{{r}}}, "experts": {{{experts}}}, "router": {"kind": "hard-soft","""
        + $$$""" "stage": "hard"}}""");

    private static Tensor Tasks(long task) => torch.tensor(new[] { task, task }, [2]);

    private Tensor Train(string name, string options, long seed)
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), AdapterOptionsTests.Read(options), seed);
        AttachmentTests.FillUp(adapted);
        BundleWriter.Write(Tiny.In(name), new BundleContents { Adapted = adapted, Base = Base });
        return TinyModel.Logits(adapted.Model);
    }
}
