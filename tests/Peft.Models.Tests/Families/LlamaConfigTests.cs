using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models.Families;
using Peft.Models.Tests.Support;

namespace Peft.Models.Tests.Families;

public sealed class LlamaConfigTests
{
    [Fact]
    public void Absent_key_value_heads_and_head_dim_follow_from_the_heads()
    {
        var config = Read(
            """
            {"model_type": "llama", "vocab_size": 8, "hidden_size": 32, "num_hidden_layers": 1,
             "num_attention_heads": 4, "num_key_value_heads": null, "intermediate_size": 8}
            """);
        Assert.Equal((4, 4, 8), (config.HeadCount, config.KeyValueHeadCount, config.HeadSize));
        Assert.False(config.TieWordEmbeddings);
    }

    [Fact]
    public void Qwen2_slides_from_max_window_layers_on_and_only_when_asked()
    {
        const string Common = "\"sliding_window\": 7, \"max_window_layers\": 1";
        using var asked = new TinyCheckpoint("qwen2", Common + ", \"use_sliding_window\": true");
        using var off = new TinyCheckpoint("qwen2", Common);
        Assert.Equal([null, 7, 7], Llama.ReadQwen2(ModelConfigFile.Read(asked.Path)).Windows);
        Assert.Equal([null, null, null], Llama.ReadQwen2(ModelConfigFile.Read(off.Path)).Windows);
    }

    [Fact]
    public void Layer_types_overrule_the_family_rule()
    {
        using var checkpoint = new TinyCheckpoint(
            "qwen2", "\"sliding_window\": 9, \"layer_types\": [\"sliding_attention\", \"full_attention\", "
                + "\"sliding_attention\"]");
        Assert.Equal([9, null, 9], Llama.ReadQwen2(ModelConfigFile.Read(checkpoint.Path)).Windows);
    }

    [Theory]
    [InlineData("[\"full_attention\", \"full_attention\"]", "layer_types: 2 entries; expected 3, one for each layer.")]
    [InlineData("[]", "layer_types: 0 entries; expected 3, one for each layer.")]
    [InlineData(
        "[\"full_attention\", \"full_attention\", \"chunked_attention\"]",
        "layer_types: 'chunked_attention'; expected full_attention or sliding_attention.")]
    [InlineData(
        "[\"full_attention\", \"full_attention\", \"sliding_attention\"]",
        "sliding_window: missing; expected a number of tokens, because layer_types has sliding_attention.")]
    public void Layer_types_that_do_not_say_what_each_layer_sees_are_refused(string types, string fault)
    {
        using var checkpoint = new TinyCheckpoint("llama", "\"layer_types\": " + types);
        var error = Assert.Throws<FaultsException>(() => Llama.Read(ModelConfigFile.Read(checkpoint.Path)));
        Assert.EndsWith(fault, Assert.Single(error.Items).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Qwen_falls_back_on_what_its_own_classes_say()
    {
        const string Silent = "\"use_sliding_window\": true, \"max_window_layers\": 2";
        foreach (var type in new[] { "qwen2", "qwen3" })
        {
            using var checkpoint = new TinyCheckpoint(type, Silent);
            var config = (DecoderConfig)ModelLoader.ReadConfig(checkpoint.Path).Config;
            Assert.Equal([null, null, 4096], config.Windows);
        }
    }

    [Fact]
    public void Mistral_window_defaults_to_4096_and_null_means_none()
    {
        using var silent = new TinyCheckpoint("mistral");
        using var none = new TinyCheckpoint("mistral", "\"sliding_window\": null");
        Assert.Equal([4096, 4096, 4096], Llama.ReadMistral(ModelConfigFile.Read(silent.Path)).Windows);
        Assert.Equal([null, null, null], Llama.ReadMistral(ModelConfigFile.Read(none.Path)).Windows);
    }

    [Fact]
    public void Every_missing_key_is_told_at_once()
    {
        var error = Assert.Throws<FaultsException>(() => Read("""{"model_type": "llama", "hidden_size": 32}"""));
        foreach (var key in new[] { "vocab_size", "num_hidden_layers", "num_attention_heads", "intermediate_size" })
            Assert.Contains(key, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_unusable_value_is_told_at_once()
    {
        var error = Assert.Throws<FaultsException>(() => Read(
            """
            {"model_type": "llama", "vocab_size": 8, "hidden_size": 30, "num_hidden_layers": 1,
             "num_attention_heads": 4, "num_key_value_heads": 3, "intermediate_size": 8, "hidden_act": "swiglu",
             "quantization_config": {"bits": 4}, "partial_rotary_factor": 0.5}
            """));
        foreach (var part in new[]
                 {
                     "4, with num_key_value_heads 3", "30, with num_attention_heads 4", "'swiglu'", "silu, swish, gelu",
                         "a quantized checkpoint",
                     "partial_rotary_factor",
                 })
            Assert.Contains(part, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Essentials_do_not_depend_on_the_spelling()
    {
        using var old = new TinyCheckpoint("llama", "\"rope_theta\": 500.0");
        using var now = new TinyCheckpoint(
            "llama", "\"rope_parameters\": {\"rope_theta\": 500.0, \"rope_type\": \"default\"}");
        using var other = new TinyCheckpoint("llama", "\"rope_theta\": 501.0");
        Assert.Equal(Essentials(old), Essentials(now));
        Assert.NotEqual(Essentials(old), Essentials(other));

        static string Essentials(TinyCheckpoint checkpoint) =>
            Llama.Read(ModelConfigFile.Read(checkpoint.Path)).Essentials;
    }

    [Theory]
    [InlineData("num_hidden_layers", "2147483647", "from 1 to 16777216")]
    [InlineData("num_hidden_layers", "536870912", "from 1 to 16777216")]
    [InlineData("num_hidden_layers", "4097", "at most 4096")]
    [InlineData("head_dim", "2147483646", "from 1 to 16777216")]
    [InlineData("num_attention_heads", "1073741824", "from 1 to 16777216")]
    [InlineData("max_position_embeddings", "2147483647", "from 1 to 16777216")]
    public void Sizes_that_no_model_has_are_refused_before_memory_is_taken(string key, string value, string allowed)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        var values = new Dictionary<string, string>
        {
            ["vocab_size"] = "8", ["hidden_size"] = "32", ["num_hidden_layers"] = "1", ["num_attention_heads"] = "4",
            ["intermediate_size"] = "8",
            [key] = value,
        };
        var error = Assert.Throws<FaultsException>(() => Read(
            "{\"model_type\": \"llama\"" + string.Concat(values.Select(pair => $", \"{pair.Key}\": {pair.Value}"))
            + "}"));
        Assert.Contains($"{key}  {value}", error.Message, StringComparison.Ordinal);
        Assert.Contains(allowed, error.Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 10_000_000);
    }

    private static DecoderConfig Read(string json)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["config.json"], json);
        return Llama.Read(ModelConfigFile.Read(folder.Path));
    }
}
