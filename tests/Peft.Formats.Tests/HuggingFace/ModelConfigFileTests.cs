using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;

namespace Peft.Formats.Tests.HuggingFace;

public sealed class ModelConfigFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private ModelConfigFile Config(string keys)
    {
        _folder.Put("config.json", $"{{\"model_type\": \"llama\",\n{keys}}}");
        return ModelConfigFile.Read(_folder.Path);
    }

    private string FaultsOf(ModelConfigFile config) => _folder.Message<FaultsException>(config.ThrowIfFaulty);

    [Fact]
    public void Values_are_read_under_any_of_their_names()
    {
        var config = Config(
            """
            "n_embd": 48, "n_head": 4.0, "eps": 1e-5, "flag": true, "act": "silu", "head_dim": null,
            "layer_types": ["full_attention"], "torch_dtype": "torch.bfloat16", "eos_token_id": [2, 7],
            "bos_token_id": 1, "pad_token_id": -1
            """);

        Assert.Equal(48, config.RequiredInt("hidden_size", "n_embd"));
        Assert.Equal(4, config.RequiredInt("num_attention_heads", "n_head"));
        Assert.Equal(12, config.Int("head_dim", 12));
        Assert.Null(config.OptionalInt("head_dim"));
        Assert.Equal(1e-5, config.Number("rms_norm_eps", 1e-6, "eps"));
        Assert.True(config.Bool("flag", false));
        Assert.Equal("silu", config.Text("hidden_act", "gelu", "act"));
        Assert.Equal(["full_attention"], config.Texts("layer_types"));
        Assert.Equal("bfloat16", config.TorchDtype);
        Assert.Equal([2, 7], config.EosTokenIds);
        Assert.Equal(1, config.BosTokenId);
        Assert.Null(config.PadTokenId);
        config.ThrowIfFaulty();
    }

    [Fact]
    public void The_dtype_may_be_spelt_as_in_version_5() =>
        Assert.Equal("float16", Config("\"dtype\": \"float16\"").TorchDtype);

    [Fact]
    public void All_faults_are_told_at_once()
    {
        var config = Config(
            """
            "hidden_size": 0,
            "head_dim": -1,
            "vocab_size": 1.5, "num_hidden_layers": 99999999999,
            "eps": "x", "flag": 1, "act": 3, "layer_types": "full", "eos_token_id": ["a"]
            """);
        Assert.Equal(1, config.RequiredInt("hidden_size", "n_embd"));
        config.RequiredInt("num_attention_heads", "n_head");
        config.RequiredInt("intermediate_size");
        Assert.Equal(5, config.Int("head_dim", 5));
        config.RequiredInt("vocab_size");
        config.RequiredInt("num_hidden_layers");
        Assert.Equal(1e-6, config.Number("eps", 1e-6));
        Assert.True(config.Bool("flag", true));
        Assert.Equal("silu", config.Text("act", "silu"));
        config.Texts("layer_types");
        config.Fault("hidden_size", "0", "a multiple of the heads");

        Assert.Equal(
            """
            DIR/config.json has 12 faults:
              line 2  hidden_size        0; expected a whole number from 1 to 16777216.
              line 2  hidden_size        0; expected a multiple of the heads.
              line 3  head_dim           -1; expected a whole number of at least 0.
              line 4  vocab_size         1.5; expected a whole number from 1 to 16777216.
              line 4  num_hidden_layers  99999999999; expected a whole number from 1 to 16777216.
              line 5  eos_token_id       'a'; expected a token id or a list of them.
              line 5  eps                'x'; expected a number.
              line 5  flag               1; expected true or false.
              line 5  act                3; expected a text.
              line 5  layer_types        'full'; expected a list of texts.
              num_attention_heads        missing; expected a size under this key or n_head.
              intermediate_size          missing; expected a size.
            """,
            FaultsOf(config));
    }

    [Fact]
    public void Rope_of_version_4_and_of_version_5_give_the_same()
    {
        var four = Config(
            """
            "max_position_embeddings": 131072, "rope_theta": 500000.0,
            "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"}
            """).Rope;
        var five = Config(
            """
            "max_position_embeddings": 131072,
            "rope_parameters": {"rope_theta": 500000.0, "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
              "original_max_position_embeddings": 8192, "rope_type": "llama3"}
            """).Rope;

        var expected = new RopeParameters(500000, "llama3", 8, 1, 4, 8192, 1);
        Assert.Equivalent(expected, four, strict: true);
        Assert.Equivalent(expected, five, strict: true);
    }

    [Theory]
    [InlineData("\"rope_scaling\": null", "default", 10000, 1, 1)]
    [InlineData("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}", "linear", 10000, 4, 1)]
    [InlineData("\"rotary_emb_base\": 500, \"rotary_pct\": 0.5", "default", 500, 1, 0.5)]
    [InlineData(
        "\"rope_parameters\": {\"rope_theta\": 7, \"partial_rotary_factor\": 0.25, \"rope_type\": \"default\"}",
        "default", 7, 1, 0.25)]
    [InlineData(
        "\"rope_scaling\": {\"type\": \"su\", \"long_factor\": [2], \"short_factor\": [1]}", "longrope", 10000, 1, 1)]
    [InlineData("\"rope_parameters\": {\"a\": {\"rope_theta\": 9}, \"b\": {\"rope_theta\": 9}}", "default", 9, 1, 1)]
    public void Every_spelling_of_rope_is_read(string keys, string type, double theta, double factor, double partial)
    {
        var config = Config(keys);
        config.ThrowIfFaulty();
        Assert.Equal(
            (type, theta, factor, partial),
            (config.Rope.Type, config.Rope.Theta, config.Rope.Factor, config.Rope.PartialRotaryFactor));
    }

    [Fact]
    public void Layers_with_a_window_may_have_a_rotary_embedding_of_their_own()
    {
        var config = Config(
            """
            "rope_parameters": {
              "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
              "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0}}
            """);
        config.ThrowIfFaulty();
        Assert.Equal(("linear", 1e6, 8), (config.Rope.Type, config.Rope.Theta, config.Rope.Factor));
        Assert.Equal(
            ("default", 1e4, 1), (config.WindowRope!.Type, config.WindowRope.Theta, config.WindowRope.Factor));
        Assert.True(config.SaysAny("rope_theta"));
        Assert.False(config.SaysAny("partial_rotary_factor"));
        Assert.Null(Config("\"rope_parameters\": {\"rope_theta\": 7}").WindowRope);

        var wrong = Config(
            "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\"}, "
                + "\"sliding_attention\": {\"factor\": 0}}");
        Assert.Equal(
            """
            DIR/config.json has 2 faults:
              line 2  rope_parameters.sliding_attention.factor  0; expected a number above 0.
              rope_parameters.full_attention.factor  missing; expected how far linear stretches the context.
            """,
            FaultsOf(wrong));
    }

    [Fact]
    public void The_family_decides_where_the_file_is_silent()
    {
        _folder.Put("config.json", "{\"model_type\": \"gpt_neox\", \"max_position_embeddings\": 64}");
        var rope = ModelConfigFile.Read(_folder.Path).Rope;
        Assert.Equal((0.25, 64), (rope.PartialRotaryFactor, rope.OriginalMaxPositionEmbeddings));

        _folder.Put(
            "config.json",
            "{\"model_type\": \"phi3\", \"rope_scaling\": {\"type\": \"yarn\", \"long_factor\": [1], "
                + "\"short_factor\": [1]}}");
        Assert.Equal("longrope", ModelConfigFile.Read(_folder.Path).Rope.Type);
    }

    [Theory]
    [InlineData(
        "\"rope_scaling\": {\"rope_type\": \"lama3\"}",
        "line 2  rope_scaling.rope_type  'lama3'; expected default, linear, dynamic, llama3, yarn or longrope. Did "
            + "you mean llama3?")]
    [InlineData(
        "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 0}",
        "line 2  rope_scaling.factor  0; expected a number above 0.")]
    [InlineData(
        "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": \"4\"}",
        "line 2  rope_scaling.factor  '4'; expected a number.")]
    [InlineData(
        "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4}",
        "line 2  rope_scaling  low_freq_factor 4, high_freq_factor 4; "
            + "expected 0 < low_freq_factor < high_freq_factor.")]
    [InlineData(
        "\"rope_scaling\": {\"rope_type\": \"longrope\", \"long_factor\": [1]}",
        "line 2  rope_scaling  1 long and 0 short factors; expected equally many of both, at least one.")]
    [InlineData(
        "\"rope_scaling\": {\"long_factor\": [-1]}", "line 2  rope_scaling.long_factor  -1; expected numbers above 0.")]
    [InlineData("\"rope_scaling\": 3", "line 2  rope_scaling  3; expected an object or null.")]
    [InlineData("\"rope_theta\": 0", "line 2  rope_theta  0; expected a number above 0.")]
    [InlineData(
        "\"partial_rotary_factor\": 2", "line 2  partial_rotary_factor  2; expected a number above 0 and at most 1.")]
    [InlineData(
        "\"rope_parameters\": {\"a\": {\"rope_theta\": 9}, \"b\": {\"rope_theta\": 8}}",
        "line 2  rope_parameters  rotary embeddings that differ by layer type; expected one of full_attention and "
            + "one of sliding_attention, or one alone.")]
    public void Rope_that_cannot_be_is_told(string keys, string fault) =>
        Assert.Equal("DIR/config.json has 1 fault:\n  " + fault, FaultsOf(Config(keys)));

    [Fact]
    public void A_directory_that_is_no_model_is_told()
    {
        string MessageOf(string directory) => _folder.Message<UserException>(() => ModelConfigFile.Read(directory));
        Assert.Equal("DIR/none: no such directory. Check the path.", MessageOf(_folder.At("none")));
        Assert.Equal(
            "DIR: no config.json; expected a base model's directory with config.json, tokenizer.json and "
                + "model.safetensors. Check the path.",
            MessageOf(_folder.Path));
        var file = _folder.Put("adapter_config.json", "{}");
        Assert.Equal("DIR/adapter_config.json: is a file, not a directory. Check the path.", MessageOf(file));
        Assert.Equal(
            "DIR: is an adapter, not a base model. Name the adapter with --adapter and its base model with --base.",
            MessageOf(_folder.Path));
        _folder.Put("config.json", "{\"model_type\": 3}");
        Assert.Equal(
            "DIR/config.json: no model_type; expected the name of an architecture, such as \"llama\". Use a "
                + "config.json written by transformers.",
            MessageOf(_folder.Path));
    }

    [SharedFact]
    public void Every_config_of_the_shared_models_reads()
    {
        var directories = Directory.GetDirectories(SharedAssets.Path("vectors", "models"))
            .Concat(Directory.GetDirectories(SharedAssets.Path("models")));
        foreach (var directory in directories)
        {
            var config = ModelConfigFile.Read(directory);
            config.ThrowIfFaulty();
            Assert.True(config.RequiredInt("vocab_size") > 0);
            _ = GenerationConfig.Read(directory);
        }

        var llama3 = ModelConfigFile.Read(SharedAssets.Path("vectors", "models", "llama3-rope"));
        Assert.Equivalent(new RopeParameters(500000, "llama3", 8, 1, 4, 16, 1), llama3.Rope, strict: true);
        Assert.Equal("float32", llama3.TorchDtype);
    }

    [Fact]
    public void Generation_defaults_are_read_when_there_are_any()
    {
        Assert.Null(GenerationConfig.Read(_folder.Path));
        _folder.Put(
            "generation_config.json",
            """
            {"eos_token_id": [1, 2], "bos_token_id": 0, "temperature": 0.7, "top_p": 0.9, "top_k": 50,
             "max_new_tokens": 20, "do_sample": true, "other": 1}
            """);
        var config = GenerationConfig.Read(_folder.Path)!;
        Assert.Equal([1, 2], config.EosTokenIds);
        Assert.Equal(
            (0, null, 0.7, 0.9, 50, 20, true),
            (config.BosTokenId, config.PadTokenId, config.Temperature, config.TopP, config.TopK, config.MaxNewTokens,
                config.DoSample));

        _folder.Put("generation_config.json", "{\"temperature\": -1, \"top_p\": 2, \"eos_token_id\": \"x\"}");
        Assert.Equal(
            """
            DIR/generation_config.json has 3 faults:
              line 1  eos_token_id  'x'; expected a token id or a list of them.
              line 1  temperature   -1; expected a number of at least 0.
              line 1  top_p         2; expected a number from 0 to 1.
            """,
            _folder.Message<FaultsException>(() => GenerationConfig.Read(_folder.Path)));
    }

    [Fact]
    public void What_is_not_JSON_is_a_typed_error()
    {
        _folder.Put("config.json", "model_type: llama");
        Assert.Throws<UserException>(() => ModelConfigFile.Read(_folder.Path));
    }

    [Theory]
    [InlineData("0")]
    [InlineData("16777217")]
    [InlineData("1152921504606846976")]
    [InlineData("1e300")]
    [InlineData("-4")]
    public void A_size_that_no_model_has_is_a_fault(string size)
    {
        _folder.Put("config.json", $"{{\"model_type\": \"llama\", \"hidden_size\": {size}}}");
        var config = ModelConfigFile.Read(_folder.Path);
        Assert.Equal(1, config.RequiredInt("hidden_size"));
        Assert.Equal(
            $"DIR/config.json has 1 fault:\n  line 1  hidden_size  {size}; expected a whole number from 1 to 16777216.",
            _folder.Message<FaultsException>(config.ThrowIfFaulty));
    }
}
