using Peft.Formats;
using Peft.Models.Loading;
using Peft.Models.Tests.Support;

namespace Peft.Models.Tests;

public sealed class ModelLoaderTests
{
    private static readonly long[] Ids = [3, 17, 0, 39, 8];

    [Fact]
    public void Unknown_model_type_names_itself_the_supported_ones_and_the_nearest()
    {
        using var checkpoint = new TinyCheckpoint();
        File.WriteAllText(
            checkpoint["config.json"], checkpoint.Config.Replace("\"llama\"", "\"lama\"", StringComparison.Ordinal));
        var error = Assert.Throws<UserException>(() => ModelLoader.Load(checkpoint.Path));
        var supported = Words.OneOf([.. ModelCatalog.Families.Select(family => family.ModelType)]);
        Assert.StartsWith("llama, mistral, qwen2", supported, StringComparison.Ordinal);
        Assert.Equal(
            $"{checkpoint["config.json"]}: model_type is 'lama', which is not supported; expected {supported}. Did "
                + "you mean 'llama'?",
            error.Message);
    }

    [Fact]
    public void Missing_misshapen_and_surplus_tensors_are_told_together()
    {
        using var checkpoint = new TinyCheckpoint();
        checkpoint.Tensors.Remove("model.layers.1.mlp.up_proj.weight");
        checkpoint.Tensors["model.layers.0.self_attn.k_proj.weight"] = new PlainTensor([4, 16], new float[64]);
        checkpoint.Tensors["model.layers.2.self_attn.q_proj.bias"] = new PlainTensor([16], new float[16]);
        checkpoint.Write();

        var error = Assert.Throws<FaultsException>(() => ModelLoader.Load(checkpoint.Path));
        Assert.StartsWith(
            $"{checkpoint.Path}: the checkpoint, whose tensors must fit config.json, has 3 faults:\n", error.Message,
            StringComparison.Ordinal);
        Assert.Equal(
            [
                "model.safetensors: model.layers.0.self_attn.k_proj.weight: [4, 16]; expected [8, 16].",
                "model.safetensors: model.layers.1.mlp.up_proj.weight: missing; expected [24, 16]. "
                    + "The nearest name in the file is model.layers.2.mlp.up_proj.weight.",
                "model.safetensors: model.layers.2.self_attn.q_proj.bias: a tensor [16] that the model has no place "
                    + "for; "
                    + "expected none of this name.",
            ], error.Items.Select(fault => fault.ToString()));
    }

    [Fact]
    public void Rotary_buffers_of_old_checkpoints_are_ignored()
    {
        using var checkpoint = new TinyCheckpoint();
        checkpoint.Tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = new PlainTensor([2], [1, 0.01f]);
        checkpoint.Write();
        using var model = ModelLoader.Load(checkpoint.Path);
        Assert.DoesNotContain(model.StateDict(), entry => entry.Name.Contains("rotary", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(0.0105f)]
    [InlineData(0.5f)]
    public void Rotary_buffers_that_say_something_else_than_the_config_are_refused(float frequency)
    {
        using var checkpoint = new TinyCheckpoint();
        checkpoint.Tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = new PlainTensor([2], [1, frequency]);
        checkpoint.Write();
        var error = Assert.Throws<FaultsException>(() => ModelLoader.Load(checkpoint.Path));
        Assert.Equal(
            "model.safetensors: model.layers.0.self_attn.rotary_emb.inv_freq: other values than config.json's rotary "
                + "embedding gives; "
            + "expected the same, or no such tensor. Correct config.json's rotary embedding.",
            Assert.Single(error.Items).ToString());
    }

    [Fact]
    public void Tied_head_that_differs_from_the_embeddings_is_the_models_and_is_saved_as_such()
    {
        using var tied = new TinyCheckpoint("llama", "\"tie_word_embeddings\": true");
        using var untied = new TinyCheckpoint();
        tied.Tensors["lm_head.weight"] = untied.Tensors["lm_head.weight"];
        tied.Write();
        using var model = ModelLoader.Load(tied.Path);
        using var right = ModelLoader.Load(untied.Path);
        Assert.Equal(ModelRuns.Logits(right, Ids), ModelRuns.Logits(model, Ids));
        Assert.Equal(ModelLoader.Fingerprint(untied.Path), ModelLoader.Fingerprint(tied.Path));

        using var target = new TemporaryFolder();
        ModelSaver.Save(target.Path, model, model.Config.File.Map, model.Dtype);
        Assert.Contains(
            "\"tie_word_embeddings\": false", File.ReadAllText(target["config.json"]), StringComparison.Ordinal);
        using var again = ModelLoader.Load(target.Path);
        Assert.Equal(ModelRuns.Logits(right, Ids), ModelRuns.Logits(again, Ids));
    }

    [Fact]
    public void Tied_head_that_was_saved_all_the_same_is_ignored()
    {
        using var checkpoint = new TinyCheckpoint("llama", "\"tie_word_embeddings\": true");
        var plain = ModelLoader.Fingerprint(checkpoint.Path);
        checkpoint.Tensors["lm_head.weight"] = checkpoint.Tensors["model.embed_tokens.weight"];
        checkpoint.Write();
        using var model = ModelLoader.Load(checkpoint.Path);
        Assert.DoesNotContain(model.StateDict(), entry => entry.Name == "lm_head.weight");
        Assert.Equal(plain, ModelLoader.Fingerprint(checkpoint.Path));
    }

    [Fact]
    public void Shards_give_the_same_model_and_fingerprint_as_one_file()
    {
        using var checkpoint = new TinyCheckpoint();
        var fingerprint = ModelLoader.Fingerprint(checkpoint.Path);
        using var whole = ModelLoader.Load(checkpoint.Path);
        checkpoint.Shard();
        using var sharded = ModelLoader.Load(checkpoint.Path);
        Assert.Equal(ModelRuns.Logits(whole, Ids), ModelRuns.Logits(sharded, Ids));
        Assert.Equal(fingerprint, ModelLoader.Fingerprint(checkpoint.Path));
        Assert.Equal(64, fingerprint.Length);
    }

    [Fact]
    public void Fingerprint_changes_with_one_weight()
    {
        using var checkpoint = new TinyCheckpoint();
        var before = ModelLoader.Fingerprint(checkpoint.Path);
        checkpoint.Tensors["model.norm.weight"].Data[3] += 1e-3f;
        checkpoint.Write();
        Assert.NotEqual(before, ModelLoader.Fingerprint(checkpoint.Path));
    }

    [Fact]
    public void Auto_keeps_the_type_of_the_file_and_a_given_type_casts()
    {
        using var checkpoint = new TinyCheckpoint();
        using var auto = ModelLoader.Load(checkpoint.Path);
        using var cast = ModelLoader.Load(checkpoint.Path, ScalarType.BFloat16);
        Assert.Equal(ScalarType.Float32, auto.Dtype);
        Assert.All(cast.BaseParameters, entry => Assert.Equal(ScalarType.BFloat16, entry.Parameter.dtype));
    }

    [Theory]
    [InlineData(ScalarType.Float16, 0.02)]
    [InlineData(ScalarType.BFloat16, 0.15)]
    public void Reduced_types_stay_near_float32(ScalarType dtype, double tolerance)
    {
        using var checkpoint = new TinyCheckpoint();
        using var wide = ModelLoader.Load(checkpoint.Path);
        using var reduced = ModelLoader.Load(checkpoint.Path, dtype);
        Assert.InRange(
            ModelRuns.LargestDifference(ModelRuns.Logits(reduced, Ids), ModelRuns.Logits(wide, Ids)), 1e-6, tolerance);
    }

    [Fact]
    public void Created_weights_depend_on_seed_and_name_only()
    {
        using var checkpoint = new TinyCheckpoint();
        var (_, config) = ModelLoader.ReadConfig(checkpoint.Path);
        using var first = ModelLoader.Create(config.File, ScalarType.Float32, seed: 0);
        using var again = ModelLoader.Create(config.File, ScalarType.Float32, seed: 0);
        using var other = ModelLoader.Create(config.File, ScalarType.Float32, seed: 1);
        Assert.Equal(ModelRuns.Logits(first, Ids), ModelRuns.Logits(again, Ids));
        Assert.NotEqual(ModelRuns.Logits(first, Ids), ModelRuns.Logits(other, Ids));
        var embedding = first.StateDict().First(entry => entry.Name == "model.embed_tokens.weight").Tensor.data<float>()
            .ToArray();
        Assert.InRange(Math.Sqrt(embedding.Select(value => (double)value * value).Average()), 0.018, 0.022);
        Assert.All(first.StateDict().First(entry => entry.Name == "model.norm.weight").Tensor.data<float>().ToArray(),
            value => Assert.Equal(1, value));
    }

    [Fact]
    public void Everything_is_frozen_until_it_is_asked_for()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        Assert.DoesNotContain(model.BaseParameters, entry => entry.Parameter.requires_grad);
        model.RequireGrad(true);
        Assert.All(model.BaseParameters, entry => Assert.True(entry.Parameter.requires_grad));
    }

    [Fact]
    public void A_new_model_larger_than_the_machine_is_refused_before_memory_is_taken()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["config.json"], """
            {"model_type": "llama", "vocab_size": 16777216, "hidden_size": 1048576, "num_hidden_layers": 2,
             "num_attention_heads": 4, "intermediate_size": 8}
            """);
        var error = Assert.Throws<UserException>(
            () => ModelLoader.Create(ModelLoader.ReadConfig(folder.Path).Config.File, ScalarType.Float32, 1));
        Assert.StartsWith(
            "config.json: with model.embed_tokens.weight of [16777216, 1048576] the weights take 65,536.0 GiB; "
                + "expected at most the ",
            error.Message, StringComparison.Ordinal);
        Assert.EndsWith(" GiB of this machine. Make the model smaller.", error.Message, StringComparison.Ordinal);
    }
}
