using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models.Loading;
using Peft.Models.Tests.Support;

namespace Peft.Models.Tests.Families;

/// <summary>What must hold for every family, on the checkpoints of the shared vectors; and what each refuses.</summary>
public sealed class FamilyTests
{
    private static readonly long[] Ids = [3, 17, 0, 39, 8, 21, 5, 30, 11, 2, 9];

    [SharedTheory]
    [MemberData(nameof(VectorModels.Names), MemberType = typeof(VectorModels))]
    public void A_saved_model_is_the_same_checkpoint(string name)
    {
        var folder = VectorModels.Folder(name);
        using var target = new TemporaryFolder();
        using var model = ModelLoader.Load(folder);
        ModelSaver.Save(target.Path, model, model.Config.File.Map, model.Dtype);
        using var again = ModelLoader.Load(target.Path);
        Assert.Equal(ModelRuns.Logits(model, Ids), ModelRuns.Logits(again, Ids));
        Assert.Equal(ModelLoader.Fingerprint(folder), ModelLoader.Fingerprint(target.Path));
    }

    [SharedTheory]
    [MemberData(nameof(VectorModels.Names), MemberType = typeof(VectorModels))]
    public void Sequences_that_share_a_row_are_as_they_are_alone(string name)
    {
        using var model = ModelLoader.Load(VectorModels.Folder(name));
        using var scope = torch.NewDisposeScope();
        var pass = ForwardPass.ForInference(segments: new SequenceSegments(1, 11, [0, 5, 5, 11]));
        var packed = model.Forward(torch.tensor(Ids, [1, 11]), pass).contiguous().data<float>().ToArray();
        var alone = ModelRuns.Logits(model, Ids[..5]).Concat(ModelRuns.Logits(model, Ids[5..]));
        Assert.InRange(ModelRuns.LargestDifference(packed, alone), 0, 2e-5);
    }

    [SharedTheory]
    [MemberData(nameof(VectorModels.Names), MemberType = typeof(VectorModels))]
    public void Reduced_precision_stays_near(string name)
    {
        using var wide = ModelLoader.Load(VectorModels.Folder(name), ScalarType.Float64);
        using var model = ModelLoader.Load(VectorModels.Folder(name), ScalarType.BFloat16);
        var (exact, found) = (ModelRuns.Logits(wide, Ids), ModelRuns.Logits(model, Ids));
        // On average: a token at the border of two experts may take the other.
        var off = exact.Zip(found, (a, b) => Math.Abs(a - b)).Average();
        Assert.InRange(off, 1e-6, 0.05 * exact.Average(Math.Abs));
    }

    [SharedTheory]
    [MemberData(nameof(VectorModels.Names), MemberType = typeof(VectorModels))]
    public void Fresh_weights_compute(string name)
    {
        var config = ModelConfigFile.Read(VectorModels.Folder(name));
        using var model = ModelLoader.Create(config, ScalarType.Float32, seed: 1);
        Assert.All(ModelRuns.Logits(model, Ids), logit => Assert.InRange(Math.Abs(logit), 0, 100));
    }

    [Theory]
    [InlineData("falcon", "\"num_ln_in_parallel_attn\": 2", "num_ln_in_parallel_attn: 2, which falcon models are not "
        + "computed with here; expected 1.")]
    [InlineData("gpt2", "\"add_cross_attention\": true", "add_cross_attention: true, which gpt2 models are not "
        + "computed with here; expected false.")]
    [InlineData("gemma3_text", "\"use_bidirectional_attention\": true", "use_bidirectional_attention: true, which "
        + "gemma3_text models are not computed with here; expected false.")]
    [InlineData("opt", "\"layer_norm_elementwise_affine\": false, \"ffn_dim\": 8", "layer_norm_elementwise_affine: "
        + "false, which opt models are not computed with here; expected true.")]
    [InlineData("mixtral", "\"router_jitter_noise\": 0.1", "router_jitter_noise: 0.1, which mixtral models are not "
        + "computed with here; expected 0.")]
    [InlineData("mixtral", "\"num_experts_per_tok\": 9", "num_experts_per_tok: 9, with 8 experts; expected 1 up to "
        + "all of them.")]
    [InlineData("smollm3", "\"no_rope_layers\": [1, 0]", "no_rope_layers: 2 numbers; expected 1, one for each layer.")]
    [InlineData("phi3", "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1.0], \"long_factor\": [2.0]}",
        "rope_scaling: 1 long factors; expected 2, one a pair that is turned.")]
    [InlineData("glm4", "\"partial_rotary_factor\": 0.01", "partial_rotary_factor: 0.01, which turns 1 of 128; "
        + "expected an even number of at least 2: rotary positions turn pairs.")]
    [InlineData("llama", "\"hidden_act\": \"softplus\"", "hidden_act: 'softplus'; expected silu, swish, gelu, "
        + "gelu_python, gelu_new, gelu_pytorch_tanh, gelu_fast, quick_gelu, relu, relu2, sigmoid or tanh.")]
    public void What_a_family_does_not_compute_is_refused(string type, string extra, string fault)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(
            folder["config.json"], $$"""
            {"model_type": "{{type}}", "vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 1, {{extra}},
             "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 8}
            """);
        var error = Assert.Throws<FaultsException>(() => ModelLoader.ReadConfig(folder.Path));
        Assert.EndsWith(fault, Assert.Single(error.Items).ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("RefinedWebModel", "it is falcon under other names of keys and tensors")]
    [InlineData("bert", "it is an encoder, which sees later tokens too")]
    [InlineData("bloom", "positions are biases of the scores")]
    [InlineData("cohere2", "unlike cohere, windows take turns with layers that turn no heads")]
    [InlineData("deepseek_v2", "attention goes through a latent vector")]
    [InlineData("deepseek_v3", "attention goes through a latent vector")]
    [InlineData("exaone", "unlike llama, keys and tensors have other names")]
    [InlineData("gemma3", "unlike gemma3_text, the text model lies beside one for images")]
    [InlineData("gemma3n", "unlike gemma3_text, layers share keys and have embeddings of their own")]
    [InlineData("glm", "unlike glm4, blocks have two norms")]
    [InlineData("gptj", "unlike gpt_neox, q, k and v are apart and neighbours are turned")]
    [InlineData("internlm2", "unlike llama, q, k and v are one projection")]
    [InlineData("llama4", "unlike llama, experts are stored as one tensor beside a model for images")]
    [InlineData("mamba", "it is a state-space model without attention")]
    [InlineData("mistral3", "unlike mistral, the text model lies beside one for images")]
    [InlineData("mpt", "positions are biases of the scores")]
    [InlineData("nemotron", "unlike llama, norms are layer norms of one plus the weight")]
    [InlineData("olmo", "unlike olmo2, norms have no weights")]
    [InlineData("phi3small", "unlike phi3, attention is sparse by blocks and the feed-forward clamps its gate")]
    [InlineData("phi", "unlike phi3, attention and feed-forward stand side by side")]
    [InlineData("qwen3_next", "unlike qwen3_moe, most layers have linear attention")]
    [InlineData("qwen2_vl", "unlike qwen2, positions have three parts")]
    [InlineData("qwen3_vl", "unlike qwen3, positions have three parts")]
    [InlineData("t5", "it is an encoder-decoder")]
    public void A_family_almost_known_says_what_differs(string type, string difference)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["config.json"], $$"""{"model_type": "{{type}}"}""");
        var error = Assert.Throws<UserException>(() => ModelLoader.ReadConfig(folder.Path));
        Assert.StartsWith(
            $"{folder["config.json"]}: model_type is '{type}', which is not supported ({difference}); expected llama, "
            + "mistral, ", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("Did you mean", error.Message, StringComparison.Ordinal);
    }

    [SharedTheory]
    [InlineData("llama-bias", 0, 0)]
    [InlineData("qwen3", 96, 0)] // q and k before their norms
    [InlineData("gemma2", -64, 128)] // what four norms get, in float32
    [InlineData("gpt2", -96, 0)] // no gate
    [InlineData("falcon", -192, 0)] // one norm and no gate
    [InlineData("mixtral", 128, 0)] // the rows of two experts
    public void What_training_keeps_of_a_block_is_told_beside_llamas(string name, long own, long wide) =>
        Assert.Equal(
            (own, wide), ModelLoader.ReadConfig(VectorModels.Folder($"models-2/{name}")).Config.KeptBeyondLlama);

    [Theory]
    [InlineData("linear")]
    [InlineData("yarn")]
    [InlineData("llama3")]
    public void A_scaling_without_its_factor_is_refused(string type)
    {
        using var folder = new TinyCheckpoint();
        File.WriteAllText(
            folder["config.json"], File.ReadAllText(folder["config.json"]).TrimEnd().TrimEnd('}')
                + $", \"rope_scaling\": {{\"rope_type\": \"{type}\"}}}}");
        var error = Assert.Throws<FaultsException>(() => ModelLoader.ReadConfig(folder.Path));
        var fault = Assert.Single(error.Items);
        Assert.Equal(
            $"rope_scaling.factor: missing; expected how far {type} stretches the context.", fault.ToString());
    }

    [Fact]
    public void A_checkpoint_of_links_as_the_hubs_cache_has_them_loads()
    {
        using var checkpoint = new TinyCheckpoint();
        using var snapshot = new TemporaryFolder();
        foreach (var file in Directory.GetFiles(checkpoint.Path))
            File.CreateSymbolicLink(snapshot[Path.GetFileName(file)], file);
        using var plain = ModelLoader.Load(checkpoint.Path);
        using var linked = ModelLoader.Load(snapshot.Path);
        Assert.Equal(ModelRuns.Logits(plain, [3, 17, 0]), ModelRuns.Logits(linked, [3, 17, 0]));
    }

    [SharedFact]
    public void Gemma_3_as_transformers_5_writes_it_is_the_same_model()
    {
        var source = VectorModels.Folder("models-2/gemma3-text-linear");
        using var folder = new TemporaryFolder();
        File.Copy(Path.Combine(source, "model.safetensors"), folder["model.safetensors"]);
        var json = JsonNode.Parse(File.ReadAllText(Path.Combine(source, "config.json")))!.AsObject();
        var whole = json["rope_scaling"]!.DeepClone();
        whole["rope_theta"] = json["rope_theta"]!.DeepClone();
        json["rope_parameters"] = new JsonObject
        {
            ["sliding_attention"] = new JsonObject
            {
                ["rope_type"] = "default", ["rope_theta"] = json["rope_local_base_freq"]!.DeepClone(),
            },
            ["full_attention"] = whole,
        };
        foreach (var key in new[] { "rope_scaling", "rope_theta", "rope_local_base_freq" })
            json.Remove(key);
        File.WriteAllText(folder["config.json"], json.ToJsonString());

        using var old = ModelLoader.Load(source);
        using var now = ModelLoader.Load(folder.Path);
        Assert.Equal(ModelRuns.Logits(old, Ids), ModelRuns.Logits(now, Ids));
        Assert.Equal(ModelLoader.Fingerprint(source), ModelLoader.Fingerprint(folder.Path));
    }

    [SharedFact]
    public void Projections_that_are_cut_otherwise_are_explained()
    {
        using var folder = new TemporaryFolder();
        var source = VectorModels.Folder("models-2/phi4mini-longrope");
        File.Copy(Path.Combine(source, "model.safetensors"), folder["model.safetensors"]);
        File.WriteAllText(
            folder["config.json"], File.ReadAllText(Path.Combine(source, "config.json"))
                .Replace("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4", StringComparison.Ordinal)
                .Replace("\"intermediate_size\": 80", "\"intermediate_size\": 160", StringComparison.Ordinal));
        var error = Assert.Throws<FaultsException>(() => ModelLoader.Load(folder.Path));
        var faults = error.Items.Select(fault => fault.ToString()).ToList();
        Assert.Contains(
            "model.safetensors: model.layers.0.self_attn.qkv_proj.weight: [96, 48]; expected [144, 48]. It holds 4 "
            + "heads of q, 4 of k and 4 of v, each 12 wide.", faults);
        Assert.Contains(
            "model.safetensors: model.layers.0.mlp.gate_up_proj.weight: [160, 48]; expected [320, 48]. It holds gate "
            + "and up, each 160 wide.", faults);
    }

    [SharedFact]
    public void A_checkpoint_of_the_model_without_its_head_is_read_with_its_buffers()
    {
        var source = VectorModels.Folder("models-2/gpt2");
        using var model = ModelLoader.Load(source);
        using var folder = new TemporaryFolder();
        using (torch.NewDisposeScope())
        {
            TensorFile.Write(folder["model.safetensors"], model.StateDict()
                .Select(pair => (pair.Name["transformer.".Length..], pair.Tensor.contiguous()))
                .Append(("h.0.attn.bias", torch.ones([1, 1, 64, 64]))));
        }

        File.Copy(Path.Combine(source, "config.json"), folder["config.json"]);
        using var again = ModelLoader.Load(folder.Path);
        Assert.Equal(ModelRuns.Logits(model, Ids), ModelRuns.Logits(again, Ids));
    }

    [SharedFact]
    public void Experts_that_share_evenly_have_a_balance_loss_of_the_number_chosen()
    {
        using var scope = torch.NewDisposeScope();
        var chosen = torch.tensor(new long[] { 0, 1, 2, 3, 0, 2, 1, 3 }, [4, 2]);
        var choice = new ExpertChoice(torch.zeros([4, 4]), chosen);
        Assert.Equal(2, ExpertChoice.BalanceLoss([choice, choice], null).ToDouble(), 1e-6);
        // Padding does not count: the first two tokens alone, each expert once.
        var mask = torch.tensor(new[] { true, true, false, false }, [1, 4]);
        Assert.Equal(2, ExpertChoice.BalanceLoss([choice], mask).ToDouble(), 1e-6);
        // All to the likeliest expert: E times its probability.
        var logits = torch.tensor(new float[] { 2, 0, 0, 0 }, [1, 4]);
        var one = new ExpertChoice(logits, torch.tensor(new long[] { 0 }, [1, 1]));
        Assert.Equal(4 * Math.Exp(2) / (Math.Exp(2) + 3), ExpertChoice.BalanceLoss([one], null).ToDouble(), 1e-5);
    }
}
