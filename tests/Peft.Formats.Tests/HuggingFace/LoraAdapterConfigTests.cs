using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;

namespace Peft.Formats.Tests.HuggingFace;

public sealed class LoraAdapterConfigTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly List<string> _warnings = [];

    public void Dispose() => _folder.Dispose();

    private LoraAdapterConfig Read(string json)
    {
        _folder.Put("adapter_config.json", json);
        return LoraAdapterConfig.Read(_folder.Path, _warnings.Add);
    }

    private LoraAdapterConfig Lora(string keys) => Read($"{{\"peft_type\": \"LORA\",\n{keys}}}");

    [Fact]
    public void Defaults_are_those_of_PEFT()
    {
        var config = Read("{\"peft_type\": \"LORA\"}");
        Assert.Equal(
            (8, 8.0, 0.0, "none", false, false),
            (config.R, config.LoraAlpha, config.LoraDropout, config.Bias, config.UseRslora, config.FanInFanOut));
        Assert.Empty(config.TargetModules);
        Assert.Null(config.TargetModulesPattern);
        Assert.Equal(1.0, config.ScalingOf("any"));
    }

    [Fact]
    public void Every_supported_key_is_read()
    {
        var config = Lora(
            """
            "r": 4, "lora_alpha": 12.5, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"],
            "exclude_modules": ".*\\.0\\..*",
            "layers_to_transform": 3, "layers_pattern": "layers", "rank_pattern": {"q_proj": 2, "layers.1.v_proj": 16},
            "alpha_pattern": {"v_proj": 0.5}, "use_rslora": true, "fan_in_fan_out": true,
            "init_lora_weights": "gaussian",
            "base_model_name_or_path": "org/base", "revision": "main", "task_type": "CAUSAL_LM",
            "modules_to_save": null, "bias": "none"
            """);

        Assert.Equal(["q_proj", "v_proj"], config.TargetModules);
        Assert.Equal(".*\\.0\\..*", config.ExcludeModulesPattern);
        Assert.Equal([3], config.LayersToTransform);
        Assert.Equal(["layers"], config.LayersPattern);
        Assert.Equal(
            ("org/base", "main", "CAUSAL_LM", "gaussian"),
            (config.BaseModelNameOrPath, config.Revision, config.TaskType, config.InitLoraWeights));
        Assert.Equal(2, config.RankOf("model.layers.0.self_attn.q_proj"));
        Assert.Equal(4, config.RankOf("model.layers.0.self_attn.xq_proj"));
        Assert.Equal(16, config.RankOf("model.layers.1.v_proj"));
        Assert.Equal(0.5, config.AlphaOf("v_proj"));
        Assert.Equal(0.5 / 4, config.ScalingOf("model.layers.1.v_proj"));
        Assert.Equal(12.5 / Math.Sqrt(2), config.ScalingOf("a.q_proj"));
        Assert.Empty(_warnings);
    }

    [Theory]
    [InlineData("\"ALL-Linear\"", "all-linear")]
    [InlineData("\".*\\\\.(?P<name>q|v)_proj\"", ".*\\.(?P<name>q|v)_proj")]
    public void Targets_may_be_a_pattern(string json, string pattern) =>
        Assert.Equal(pattern, Lora($"\"target_modules\": {json}").TargetModulesPattern);

    [Fact]
    public void Unknown_keys_are_warned_of_and_known_ones_without_effect_are_not()
    {
        Lora("\"peft_version\": \"0.20.0\", \"qalora_group_size\": 16, \"megatron_core\": \"megatron.core\", "
            + "\"loftq_config\": {},\n\"brand_new\": 1");
        Assert.Equal(
            [$"{_folder.At("adapter_config.json")}:3: key 'brand_new' is not known and has no effect"], _warnings);
    }

    [Fact]
    public void After_twenty_unknown_keys_the_rest_is_counted()
    {
        Lora(string.Join(",", Enumerable.Range(0, 23).Select(i => $"\"x{i}\": 1")));
        Assert.Equal(21, _warnings.Count);
        Assert.Equal(
            _folder.At("adapter_config.json") + ": 3 more keys are not known and have no effect", _warnings[^1]);
    }

    [Fact]
    public void Features_that_change_the_function_are_refused_by_name_all_at_once()
    {
        var message = _folder.Message<FaultsException>(() => Lora(
            """
            "lora_bias": true, "bias": "all",
            "target_parameters": ["x"],
            "alora_invocation_tokens": [1], "use_qalora": true,
            "layer_replication": [[0, 4]],
            "megatron_config": {"a": 1}, "arrow_config": {"top_k": 3}, "velora_config": {"a": 1},
            "monteclora_config": {"a": 1},
            "use_bdlora": {"a": 1}, "kasa_config": {"a": 1}, "init_lora_weights": "pissa_niter_16"
            """));
        Assert.Equal(
            string.Join(
                '\n',
                "DIR/adapter_config.json has 13 faults:",
                "  line 2  bias                     'all'; expected \"none\". Train without biases.",
                "  line 2  lora_bias                true; expected a plain LoRA. Train without lora_bias.",
                "  line 3  target_parameters        a list of 1 item; expected a plain LoRA. "
                    + "Target Linear modules instead.",
                "  line 4  alora_invocation_tokens  a list of 1 item; expected a plain LoRA. "
                    + "Train a LoRA that is always active.",
                "  line 4  use_qalora               true; expected a plain LoRA. Train without QALoRA.",
                "  line 5  layer_replication        a list of 1 item; expected a plain LoRA. "
                    + "Use the base without replicated layers.",
                "  line 6  megatron_config          a section of 1 key; expected a plain LoRA. "
                    + "Convert the adapter to Hugging Face's names.",
                "  line 6  arrow_config             a section of 1 key; expected a plain LoRA. "
                    + "Give the experts one by one.",
                "  line 6  velora_config            a section of 1 key; expected a plain LoRA. Train without VeLoRA.",
                "  line 7  monteclora_config        a section of 1 key; expected a plain LoRA. "
                    + "Train without MonteCLoRA.",
                "  line 8  init_lora_weights        'pissa_niter_16', which also changes the base's weights; "
                    + "expected a plain LoRA. Save it with PEFT's path_initial_model_for_weight_conversion.",
                "  line 8  use_bdlora               a section of 1 key; expected a plain LoRA. Train without BD-LoRA.",
                "  line 8  kasa_config              a section of 1 key; expected a plain LoRA. Train without KaSA."),
            message);
    }

    [Fact]
    public void Features_that_are_switched_off_are_fine() => Lora(
        """
        "use_dora": false, "lora_bias": false, "modules_to_save": [], "target_parameters": null, "use_bdlora": null,
        "layer_replication": null, "megatron_config": null, "init_lora_weights": true, "eva_config": null
        """);

    [Theory]
    [InlineData("pissa")]
    [InlineData("olora")]
    public void Decompositions_of_the_base_follow_from_its_weights(string init)
    {
        Assert.Equal(init, Lora($"\"init_lora_weights\": \"{init}\"").InitLoraWeights);
        Assert.Equal(
            $"DIR/adapter_config.json has 1 fault:\n  line 2  use_dora  true with init_lora_weights: {init}; expected "
                + "one of the two. Merge it into the base with PEFT.",
            _folder.Message<FaultsException>(() => Lora($"\"init_lora_weights\": \"{init}\", \"use_dora\": true")));
    }

    [Theory]
    [InlineData("pissa_niter_4")]
    [InlineData("corda")]
    [InlineData("loftq")]
    [InlineData("lora_ga")]
    public void Initialisations_that_change_the_base_are_refused(string init) =>
        Assert.Throws<FaultsException>(() => Lora($"\"init_lora_weights\": \"{init}\""));

    [Fact]
    public void Wrong_values_are_told_all_at_once() => Assert.Equal(
        """
        DIR/adapter_config.json has 8 faults:
          line 2  r               0; expected a whole number of at least 1.
          line 2  lora_alpha      'x'; expected a number.
          line 2  lora_dropout    1.5; expected a number from 0 to 1.
          line 3  rank_pattern    0 for 'q'; expected a whole number of at least 1.
          line 3  rank_pattern    '('; expected a regular expression or a list of names.
          line 3  alpha_pattern   3; expected an object whose keys are module names.
          line 4  target_modules  '('; expected a regular expression or a list of names.
          line 4  use_rslora      'yes'; expected true or false.
        """,
        _folder.Message<FaultsException>(() => Lora(
            """
            "r": 0, "lora_alpha": "x", "lora_dropout": 1.5,
            "rank_pattern": {"q": 0, "(": 2}, "alpha_pattern": 3,
            "target_modules": "(", "use_rslora": "yes"
            """)));

    [Theory]
    [InlineData("{}", "no peft_type; expected peft_type \"LORA\". Use a plain LoRA adapter.")]
    [InlineData(
        "{\"peft_type\": \"XLORA\"}", "peft_type 'XLORA'; expected peft_type \"LORA\". Use a plain LoRA adapter.")]
    [InlineData(
        "{\"fine_tune_type\": \"lora\"}",
        "is an adapter of mlx-lm; expected an adapter of Hugging Face PEFT. Convert its tensors: lora_a and lora_b "
            + "are transposed.")]
    public void Adapters_of_another_kind_are_refused(string json, string message) =>
        Assert.Equal("DIR/adapter_config.json: " + message, _folder.Message<UserException>(() => Read(json)));

    [Fact]
    public void A_directory_that_is_no_adapter_is_told()
    {
        string MessageOf(string directory) =>
            _folder.Message<UserException>(() => LoraAdapterConfig.Read(directory, _ => { }));
        const string Rest =
            "; expected an adapter's directory with adapter_config.json and adapter_model.safetensors. Check the path.";
        Assert.Equal("DIR: no adapter_config.json" + Rest, MessageOf(_folder.Path));
        foreach (var step in new[] { 300, 1342, 9 })
        {
            Directory.CreateDirectory(_folder.At($"run/checkpoint-{step}"));
            File.WriteAllText(_folder.At($"run/checkpoint-{step}/adapter_config.json"), "{}");
        }
        Assert.Equal(
            "DIR/run: no adapter_config.json" + Rest.Replace("Check the path.",
                "Its training was interrupted: continue that, or name the newest checkpoint, DIR/run/checkpoint-1342.",
                StringComparison.Ordinal), MessageOf(_folder.At("run")));
        Assert.Equal("DIR/none: no such directory" + Rest, MessageOf(_folder.At("none")));
    }

    [Fact]
    public void The_file_is_written_with_long_established_keys_sorted()
    {
        var config = new LoraAdapterConfig
        {
            BaseModelNameOrPath = "org/base",
            TaskType = "CAUSAL_LM",
            R = 4,
            LoraAlpha = 16,
            LoraDropout = 0.05,
            TargetModules = ["q_proj", "v_proj"],
            AlphaPattern = [KeyValuePair.Create("q_proj", 2.5)],
        };
        Assert.Equal(
            """
            {
              "alpha_pattern": {
                "q_proj": 2.5
              },
              "auto_mapping": null,
              "base_model_name_or_path": "org/base",
              "bias": "none",
              "fan_in_fan_out": false,
              "inference_mode": true,
              "init_lora_weights": true,
              "layers_pattern": null,
              "layers_to_transform": null,
              "lora_alpha": 16,
              "lora_dropout": 0.05,
              "modules_to_save": null,
              "peft_type": "LORA",
              "r": 4,
              "rank_pattern": {},
              "revision": null,
              "target_modules": [
                "q_proj",
                "v_proj"
              ],
              "task_type": "CAUSAL_LM",
              "use_dora": false,
              "use_rslora": false
            }

            """,
            config.ToJson());
    }

    [Fact]
    public void What_is_written_reads_back()
    {
        var config = new LoraAdapterConfig
        {
            LoraAlpha = 0.5,
            TargetModulesPattern = ".*q_proj",
            ExcludeModules = ["lm_head"],
            LayersToTransform = [0, 2],
            LayersPattern = ["layers"],
            RankPattern = [KeyValuePair.Create("a", 2)],
            InitLoraWeights = "gaussian",
            UseRslora = true,
        };
        Assert.Equivalent(config, Read(config.ToJson()), strict: true);
        Assert.Empty(_warnings);
    }

    [Theory]
    [InlineData("q_proj", "q_proj", true)]
    [InlineData("q_proj", "a.q_proj", true)]
    [InlineData("q_proj", "a.xq_proj", false)]
    [InlineData("q_proj", "q_proj.b", false)]
    public void A_name_matches_the_end_after_a_dot(string name, string path, bool expected)
    {
        Assert.Equal(expected, ModulePattern.IsNamed(name, path));
        Assert.Equal(expected, ModulePattern.MatchesEnd(name, path));
    }

    [Fact]
    public void A_pattern_matches_the_whole_path()
    {
        Assert.True(ModulePattern.MatchesWhole(".*(q|v)_proj", "a.v_proj"));
        Assert.False(ModulePattern.MatchesWhole("(q|v)_proj", "a.v_proj"));
        Assert.False(ModulePattern.MatchesWhole("q|a", "a.b"));
    }

    [Fact]
    public void A_pattern_that_is_none_or_never_ends_is_told()
    {
        Assert.Equal(
            "module pattern '(': is not a valid regular expression. List the modules by name.",
            Assert.Throws<UserException>(() => ModulePattern.MatchesWhole("(", "a")).Message);
        Assert.Equal(
            "module pattern '(a+)+b': takes too long to match. List the modules by name.",
            Assert.Throws<UserException>(() => ModulePattern.MatchesWhole("(a+)+b", new string('a', 60))).Message);
    }

    [Theory]
    [InlineData("layers.1.q", "model.layers.1.q", true)]
    [InlineData("layers.1.q", "model.layersx1.q", true)] // a dot is any character, as in PEFT
    [InlineData("layers.1.q", "mlayers.1.q", false)]
    [InlineData("layers.1.q", "layers.1.q", true)]
    [InlineData("layers.1.q", "ers.1.q", false)]
    [InlineData("q_proj", "a.q_proj.b", false)]
    public void A_plain_key_matches_the_end_as_its_expression_would(string key, string path, bool expected)
    {
        Assert.Equal(expected, ModulePattern.MatchesEnd(key, path));
        Assert.Equal(expected, ModulePattern.MatchesEnd($"(?:{key})", path));
    }

    [Theory]
    [InlineData("layers", "model.layers.3.q", 3)]
    [InlineData("(h|blocks)", "model.h.12.q", 12)]
    [InlineData("layers", "model.h.3.q", null)]
    [InlineData("layers", "model.layers.99999999999.q", null)]
    public void The_layer_after_a_list_is_read(string list, string path, int? expected) =>
        Assert.Equal(expected, ModulePattern.LayerAfter(list, path));

    [Theory]
    [InlineData("model.layers.3.self_attn.q_proj", 3, "model.layers.*.self_attn.q_proj")]
    [InlineData("transformer.h.11.attn.c_attn", 11, "transformer.h.*.attn.c_attn")]
    [InlineData("gpt_neox.layers.0.mlp.dense_h_to_4h", 0, "gpt_neox.layers.*.mlp.dense_h_to_4h")]
    [InlineData("model.decoder.layers.2.fc1", 2, "model.decoder.layers.*.fc1")]
    [InlineData("model.layers.1.mlp.experts.7.w1", 1, "model.layers.*.mlp.experts.7.w1")]
    [InlineData("layers.4.up_proj", 4, "layers.*.up_proj")]
    [InlineData("lm_head", null, "lm_head")]
    [InlineData("model.embed_tokens", null, "model.embed_tokens")]
    public void The_block_of_a_module_is_found_whatever_the_list_is_called(string path, int? layer, string without)
    {
        Assert.Equal(layer, ModulePattern.LayerOf(path));
        Assert.Equal(without, ModulePattern.WithoutLayer(path));
    }

    [Fact]
    public void A_pattern_of_great_length_is_refused() => Assert.EndsWith(
        ": has more than 10,000 characters. List the modules by name.",
        Assert.Throws<UserException>(() => ModulePattern.MatchesWhole(new string('(', 10_001), "a")).Message,
        StringComparison.Ordinal);

    [SharedFact]
    public void Every_adapter_of_the_vectors_reads_without_a_warning()
    {
        foreach (var directory in Directory.GetDirectories(SharedAssets.Path("vectors", "models")))
        {
            var config = LoraAdapterConfig.Read(Path.Combine(directory, "adapter"), _warnings.Add);
            Assert.True(
                config.R > 0 && (config.TargetModules.Count > 0 || config.TargetModulesPattern is not null), directory);
        }

        Assert.Empty(_warnings);
    }

    [Fact]
    public void The_map_has_no_key_twice_and_is_sorted()
    {
        ConfigMap map = new LoraAdapterConfig { ExcludeModules = ["x"] }.ToMap();
        Assert.Equal(map.Keys.Order(StringComparer.Ordinal), map.Keys);
        Assert.NotNull(map["exclude_modules"]);
    }
}
