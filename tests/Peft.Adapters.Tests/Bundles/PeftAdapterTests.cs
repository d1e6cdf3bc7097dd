using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Tests.Bundles;

public sealed class PeftAdapterTests : TensorTests
{
    private string Out => Tiny.In("out");

    private string Weights => Path.Combine(Out, "adapter_model.safetensors");

    [Theory]
    [InlineData("""{"r": 2}""")]
    [InlineData("""{"r": 4, "lora_alpha": 3, "use_rslora": true, "target_modules": ["q_proj", "v_proj"],"""
        + """ "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"layers.1.self_attn.q_proj": 5}}""")]
    [InlineData("""{"r": 2, "target_modules": ".*\\.1\\.mlp\\.(up|down)_proj"}""")]
    [InlineData("""{"r": 2, "exclude_modules": ["o_proj"], "layers_to_transform": [0]}""")]
    [InlineData("""{"r": 2, "target_modules": ["lm_head", "k_proj"]}""")]
    public void A_lora_goes_out_and_comes_back_bit_for_bit_and_an_independent_reader_agrees(string options)
    {
        var adapted = Trained(AdapterOptionsTests.Read(options));
        PeftDirectory.Write(Out, PeftAdapter.Of(adapted, "example/tiny"), "card");
        var logits = TinyModel.Logits(adapted.Model);
        var again = Tiny.New();

        var loaded = Bundle.Open(Out).Attach(again);

        Assert.All(
            adapted.State.Zip(loaded.State),
            pair => Assert.True(pair.First.Tensor.SameAs(pair.Second.Tensor), pair.First.Name));
        Assert.True(logits.SameAs(TinyModel.Logits(again)));
        Golden.Near(logits, IndependentPeft.Logits(Tiny.New(), Out));
        PeftAdapter.RequireEqual(Out, PeftAdapter.Of(adapted, "example/tiny"), PeftDirectory.Read(Out));
    }

    [Fact]
    public void A_bundle_is_such_a_directory_and_its_files_are_the_exported_ones()
    {
        var adapted = Trained(new AdapterOptions { R = 2 });
        BundleWriter.Write(
            Tiny.In("bundle"), new BundleContents { Adapted = adapted, Base = new("example/tiny", "f") });

        PeftDirectory.Write(Out, PeftAdapter.Of(adapted, "example/tiny"), "card");

        Assert.All(
            new[] { "adapter_config.json", "adapter_model.safetensors" },
            name => Assert.Equal(
                File.ReadAllBytes(Tiny.In("bundle", name)), File.ReadAllBytes(Path.Combine(Out, name))));
    }

    [Fact]
    public void Only_keys_that_every_release_knows_are_written()
    {
        PeftDirectory.Write(Out, PeftAdapter.Of(Trained(new AdapterOptions { R = 2 }), "x"), "card");
        using var config = System.Text.Json.JsonDocument.Parse(
            File.ReadAllText(Path.Combine(Out, "adapter_config.json")));

        Assert.Equal(
            [
                "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode",
                "init_lora_weights",
                "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "modules_to_save", "peft_type",
                "r", "rank_pattern", "revision",
                "target_modules", "task_type", "use_dora", "use_rslora",
            ],
            config.RootElement.EnumerateObject().Select(key => key.Name));
    }

    [Fact]
    public void An_adapter_of_another_architecture_is_refused_in_one_sentence()
    {
        WriteTensors(
            ("base_model.model.transformer.h.0.attn.c_attn.lora_A.weight", [2, 16]),
            ("base_model.model.transformer.h.0.attn.c_attn.lora_B.weight", [48, 2]));
        WriteConfig("""{"peft_type": "LORA", "r": 2, "target_modules": ["c_attn"], "fan_in_fan_out": true}""");

        var error = Assert.Throws<UserException>(() => Bundle.Open(Out).Attach(Tiny.New()));

        Assert.Equal(
            $"{Out}: adapts transformer.h.0.attn.c_attn; expected projections of a llama model, such as "
                + $"model.layers.0.self_attn.q_proj. "
            + "It was made for another architecture: name the base it was trained on with --base DIR.",
            error.Message);
    }

    [Fact]
    public void Targets_that_the_base_lacks_are_named_with_their_file()
    {
        WriteTensors(
            ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", [2, 16]),
            ("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", [16, 2]));
        WriteConfig("""{"peft_type": "LORA", "r": 2, "target_modules": ["c_attn"]}""");

        var error = Assert.Throws<UserException>(() => Bundle.Open(Out).Attach(Tiny.New()));

        Assert.StartsWith(
            $"{Path.Combine(Out, "adapter_config.json")}: target_modules: [c_attn] matches no projection; expected "
                + $"some of q_proj, ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_adapter_in_a_directory_below_is_pointed_at()
    {
        PeftDirectory.Write(
            Path.Combine(Out, "second"), PeftAdapter.Of(Trained(new AdapterOptions { R = 2 }), "x"), "card");

        var error = Assert.ThrowsAny<UserException>(() => Bundle.Open(Out).Attach(Tiny.New()));

        Assert.EndsWith($"Did you mean {Path.Combine(Out, "second")}?", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_has_no_effect_is_told()
    {
        PeftDirectory.Write(Out, PeftAdapter.Of(Trained(new AdapterOptions { R = 2 }), "x"), "card");
        var config = File.ReadAllText(Path.Combine(Out, "adapter_config.json"));
        WriteConfig(
            config.Replace(
                "\"fan_in_fan_out\": false", "\"fan_in_fan_out\": true, \"brand_new\": 3", StringComparison.Ordinal)
            .Replace("CAUSAL_LM", "FEATURE_EXTRACTION", StringComparison.Ordinal));
        var warnings = new List<string>();

        Bundle.Open(Out, warnings.Add).Attach(Tiny.New());

        Assert.Contains(
            warnings,
            warning => warning.Contains("'brand_new' is not known and has no effect", StringComparison.Ordinal));
        Assert.Contains(
            warnings, warning => warning.Contains("fan_in_fan_out has no effect", StringComparison.Ordinal));
        Assert.Contains(
            warnings,
            warning => warning.Contains("task_type 'FEATURE_EXTRACTION' has no effect", StringComparison.Ordinal));
    }

    [Fact]
    public void Weights_of_the_base_beside_the_adapter_are_left_out_when_they_are_the_bases_own()
    {
        var adapted = Trained(AdapterOptionsTests.Read("""{"r": 2, "target_modules": ["lm_head", "q_proj"]}"""));
        PeftDirectory.Write(Out, PeftAdapter.Of(adapted, "x"), "card");
        AddTensors(1);
        var warnings = new List<string>();
        var again = Tiny.New();

        Bundle.Open(Out, warnings.Add).Attach(again);

        Assert.True(TinyModel.Logits(adapted.Model).SameAs(TinyModel.Logits(again)));
        Assert.Equal(
            2, warnings.Count(
                warning => warning.EndsWith("is the base's own weight and has no effect", StringComparison.Ordinal)));

        AddTensors(1.5);
        var error = Assert.Throws<FaultsException>(() => Bundle.Open(Out).Attach(Tiny.New()));

        Assert.Contains("base_model.model.lm_head.base_layer.weight", error.Message, StringComparison.Ordinal);
        Assert.Contains(
            "The module is not among modules_to_save.", error.Message, StringComparison.Ordinal);

        void AddTensors(double factor)
        {
            var weights = adapted.Model.StateDict().ToDictionary(pair => pair.Name, pair => pair.Tensor);
            SafetensorsWriter.WriteFile(
                Weights, [.. adapted.State.Select(pair => (BundleTensors.NameInFile(pair.Name, true), pair.Tensor))
                .Append(("base_model.model.model.embed_tokens.weight", weights["model.embed_tokens.weight"]))
                .Append(("base_model.model.lm_head.base_layer.weight", weights["lm_head.weight"] * factor))
                .Select(pair =>
                    new SafetensorsWrite(pair.Item1, SafetensorsDtype.F32, pair.Item2.shape, pair.Item2.WriteBytes))]);
        }
    }

    [Theory]
    [InlineData("lora_embedding_A", "The embeddings are not among target_modules.")]
    [InlineData("lora_magnitude_vector", "It is of DoRA, and adapter_config.json says use_dora: false.")]
    public void Tensors_of_other_methods_are_refused_by_name(string suffix, string reason)
    {
        WriteTensors(
            ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", [2, 16]), (
                "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", [16, 2]),
            ($"base_model.model.model.layers.0.self_attn.q_proj.{suffix}", [16]));
        WriteConfig("""{"peft_type": "LORA", "r": 2, "target_modules": ["model.layers.0.self_attn.q_proj"]}""");

        Assert.Contains(
            reason, Assert.Throws<FaultsException>(() => Bundle.Open(Out).Attach(Tiny.New())).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            reason, Assert.Throws<FaultsException>(() => PeftDirectory.Read(Out)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Contradictions_are_found_without_a_base()
    {
        WriteTensors(
            ("base_model.model.a.q_proj.lora_A.weight", [2, 16]), ("base_model.model.a.q_proj.lora_B.weight", [16, 3]),
            ("base_model.model.a.k_proj.lora_A.weight", [2, 16]), ("base_model.model.a.v_proj.lora_A.weight", [2, 16]),
            ("base_model.model.a.v_proj.lora_B.weight", [16, 2]));
        WriteConfig("""{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj", "k_proj"]}""");

        var error = Assert.Throws<FaultsException>(() => PeftDirectory.Read(Out));

        Assert.Contains("[outputs, 2]", error.Message, StringComparison.Ordinal);
        Assert.Contains("a.k_proj.lora_B.weight", error.Message, StringComparison.Ordinal);
        Assert.Matches("a\\.v_proj +not a target", error.Message);
    }

    [Theory]
    [InlineData("token")]
    [InlineData("mean")] // without a router's tensors
    public void A_summary_has_every_projection_and_whose_matrices_it_shares(string average)
    {
        var adapted = Trained(AdapterOptionsTests.Read($$$"""
            {"method": "mixture", "r": 2, "target_modules": ["q_proj", "up_proj"], "experts": {"count": 3},
             "router": {"kind": "lily", "stride_a": 2, "average": "{{{average}}}"} }
            """));
        var contents = new BundleContents { Adapted = adapted, Base = new("example/tiny", "f") };
        BundleWriter.Write(Out, contents);
        MixtureDirectory.Write(Tiny.In("mixture"), contents, CardFacts.None);
        const string First = "model.layers.0.self_attn.q_proj";
        const string Second = "model.layers.1.self_attn.q_proj";

        foreach (var summary in new[] { AdapterSummary.Read(Out), AdapterSummary.Read(Tiny.In("mixture")) })
        {
            Assert.Equal(
                ["model.layers.0.mlp.up_proj", First, "model.layers.1.mlp.up_proj", Second],
                summary.Modules.Select(module => module.Path));
            var (own, other) = (summary.Modules[1], summary.Modules[3]);
            Assert.Equal((null, null), (own.DownOwner, own.UpOwner));
            Assert.Equal((First, First), (other.DownOwner, other.UpOwner));
            Assert.Equal(own.AddedNorms, other.AddedNorms);
            Assert.Equal(3, other.AddedNorms.Count);
        }

        Assert.Equal(
            [$"{Second}.lora_A", $"{Second}.lora_B"],
            OwnBundle.Open(Out).Manifest.SharedFactors.Where(pair => pair.Value == First).Select(pair => pair.Key));
        Assert.DoesNotContain(
            "shared_factors",
            BundleWriter.ManifestOf(contents with { Adapted = Trained(new AdapterOptions()) }).ToJson(),
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_summary_counts_and_measures_without_a_base()
    {
        var adapted = Trained(AdapterOptionsTests.Read("""{"method": "mixture", "r": 2, "experts": {"count": 3},"""
            + """ "router": {"kind": "top-k"}}"""));
        var contents = new BundleContents { Adapted = adapted, Base = new("example/tiny", "f") };
        BundleWriter.Write(Out, contents);
        MixtureDirectory.Write(Tiny.In("mixture"), contents, CardFacts.None);

        var (bundle, exported) = (AdapterSummary.Read(Out), AdapterSummary.Read(Tiny.In("mixture")));

        var module = adapted.Modules[0];
        var added = module.UpOf(1).matmul(module.DownOf(1)).norm().ToDouble() * module.Shape.Scale;
        var summary = bundle.Modules.Single(found => found.Path == module.Path);
        Assert.Equal(3, summary.Experts);
        Assert.Equal(added, summary.AddedNorms[1], 1e-5);
        Assert.Equal(14, bundle.RouterTensors.Count);
        Assert.Equal(
            bundle.Modules.Select(found => (found.Path, found.Experts, found.Rank)),
            exported.Modules.Select(found => (found.Path, found.Experts, found.Rank)));
        Assert.Equal(14, bundle.ToJson()["modules"]!.AsArray().Count);
    }

    private AdaptedModel Trained(AdapterOptions options)
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), options, seed: 1);
        AttachmentTests.FillUp(adapted);
        return adapted;
    }

    private void WriteConfig(string text)
    {
        Directory.CreateDirectory(Out);
        File.WriteAllText(Path.Combine(Out, "adapter_config.json"), text);
    }

    private void WriteTensors(params (string Name, long[] Shape)[] tensors)
    {
        Directory.CreateDirectory(Out);
        SafetensorsWriter.WriteFile(Weights, [.. tensors.Select(tensor => new SafetensorsWrite(
            tensor.Name, SafetensorsDtype.F32, tensor.Shape, torch.ones(tensor.Shape).WriteBytes))]);
    }
}
