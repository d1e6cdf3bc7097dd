using Peft.Formats.Configuration;
using Peft.Formats.Files;

namespace Peft.Formats.HuggingFace;

/// <summary>
/// Reads <c>adapter_config.json</c>: what is supported, what is refused when really used, what is without effect.
/// </summary>
internal static class LoraAdapterConfigReader
{
    private const int MostWarnings = 20;
    private const int MostPatterns = 10_000; // each is compared with every module
    private const string PlainLora = "a plain LoRA";

    // Keys that change what the weights mean. A value that switches the feature off is fine.
    private static readonly (string Key, string Advice)[] Refused =
    [
        ("lora_bias", "train without lora_bias"),
        ("target_parameters", "target Linear modules instead"),
        ("alora_invocation_tokens", "train a LoRA that is always active"),
        ("use_qalora", "train without QALoRA"),
        ("layer_replication", "use the base without replicated layers"),
        ("megatron_config", "convert the adapter to Hugging Face's names"),
        ("arrow_config", "give the experts one by one"),
        ("velora_config", "train without VeLoRA"),
        ("monteclora_config", "train without MonteCLoRA"),
        ("use_bdlora", "train without BD-LoRA"),
        ("kasa_config", "train without KaSA"),
    ];

    // Known to PEFT and without effect on what the stored weights compute.
    private static readonly string[] WithoutEffect =
    [
        "auto_mapping", "peft_version", "inference_mode", "megatron_core", "loftq_config", "eva_config", "corda_config",
        "lora_ga_config", "qalora_group_size", "ensure_weight_tying", "runtime_config",
    ];

    // Initialisations that also change the base's weights, by numbers that nobody else gets again: random projections,
    // data. What pissa and olora take out follows from the weights alone.
    private static readonly string[] BaseChangingInits = ["corda", "loftq", "lora_ga"];
    private static readonly string[] DecomposingInits = ["pissa", "olora"];

    public static LoraAdapterConfig Read(string directory, Action<string> warn)
    {
        var path = Path.Combine(directory, LoraAdapterConfig.FileName);
        if (!File.Exists(path))
        {
            throw UserException.At(directory,
                Directory.Exists(directory) ? "no adapter_config.json" : "no such directory",
                "an adapter's directory with adapter_config.json and adapter_model.safetensors",
                LoraAdapterConfig.AdviceWithout(directory));
        }

        var map = ConfigJson.ReadFile(path);
        CheckKind(path, map);
        var reader = new OptionReader(map, "", new Faults());
        reader.Node("peft_type");
        var config = ReadSupported(reader);
        if (config.UseDora && DecomposingInits.Contains(config.InitLoraWeights))
            reader.Fault("use_dora", $"true with init_lora_weights: {config.InitLoraWeights}", "one of the two",
                "merge it into the base with PEFT");
        RefuseUnsupported(reader);
        reader.Faults.ThrowIfAny(path);
        var unknown = reader.UnknownKeys();
        foreach (var key in unknown.Take(MostWarnings))
            warn($"{path}:{map[key]!.Line}: key {Quote.Of(key)} is not known and has no effect");
        if (unknown.Count > MostWarnings)
            warn($"{path}: {unknown.Count - MostWarnings} more keys are not known and have no effect");
        return config;
    }

    private static void CheckKind(string path, ConfigMap map)
    {
        var type = (map["peft_type"] as ConfigScalar)?.Text;
        if (type == "LORA")
            return;
        if (type is null && (map["lora_parameters"] is not null || map["fine_tune_type"] is not null))
        {
            throw UserException.At(path, "is an adapter of mlx-lm", "an adapter of Hugging Face PEFT",
                "convert its tensors: lora_a and lora_b are transposed");
        }

        var found = type is null ? "no peft_type" : "peft_type " + Quote.Of(type);
        throw UserException.At(path, found, "peft_type \"LORA\"", "use a plain LoRA adapter");
    }

    private static LoraAdapterConfig ReadSupported(OptionReader reader)
    {
        var target = NamesOrPattern(reader, "target_modules");
        var exclude = NamesOrPattern(reader, "exclude_modules");
        var (tokens, tokenModule) = Tokens(reader);
        return new LoraAdapterConfig
        {
            BaseModelNameOrPath = reader.OptionalText("base_model_name_or_path"),
            Revision = reader.OptionalText("revision"),
            TaskType = reader.OptionalText("task_type"),
            R = reader.Integer("r", 8, 1),
            LoraAlpha = reader.Number("lora_alpha", 8),
            LoraDropout = reader.Number("lora_dropout", 0, 0, 1),
            TargetModules = target.Names,
            TargetModulesPattern = target.Pattern,
            ExcludeModules = exclude.Names,
            ExcludeModulesPattern = exclude.Pattern,
            LayersToTransform = reader.Integers("layers_to_transform", [], 0),
            LayersPattern = reader.Texts("layers_pattern", []),
            RankPattern = Pattern(reader, "rank_pattern", Rank, "a whole number of at least 1"),
            AlphaPattern = Pattern(reader, "alpha_pattern", Alpha, "a number"),
            UseRslora = reader.Boolean("use_rslora", false),
            UseDora = reader.Boolean("use_dora", false),
            FanInFanOut = reader.Boolean("fan_in_fan_out", false),
            InitLoraWeights = Initialisation(reader),
            ModulesToSave = reader.Texts("modules_to_save", []),
            TrainableTokenIndices = tokens,
            TrainableTokenModule = tokenModule,
        };
    }

    // A list is of the embedding table; an object names the module, which a base tells to be that table or not.
    private static (IReadOnlyList<int> Ids, string? Module) Tokens(OptionReader reader)
    {
        const string Key = "trainable_token_indices";
        if (reader.Node(Key) is not ConfigMap map)
            return (reader.Integers(Key, [], 0), null);
        if (map.Count == 1)
            return (reader.Section(Key).Integers(map.Keys.First(), [], 0), map.Keys.First());
        reader.Fault(Key, $"tokens of {map.Count} modules", "those of the embedding table alone");
        foreach (var name in map.Keys)
            reader.Section(Key).Node(name);
        return ([], null);
    }

    private static (IReadOnlyList<string> Names, string? Pattern) NamesOrPattern(OptionReader reader, string key)
    {
        if (reader.Node(key) is not ConfigScalar { Text: { } pattern })
            return (reader.Texts(key, []), null);
        if (string.Equals(pattern, "all-linear", StringComparison.OrdinalIgnoreCase))
            return ([], "all-linear");
        CheckPattern(reader, key, pattern);
        return ([], pattern);
    }

    private static void CheckPattern(OptionReader reader, string key, string pattern)
    {
        if (!ModulePattern.IsValid(pattern))
            reader.Fault(key, Quote.Of(pattern), "a regular expression or a list of names");
    }

    private static int? Rank(ConfigScalar value) =>
        value.TryInteger(out var r) && r is >= 1 and <= int.MaxValue ? (int)r : null;

    private static double? Alpha(ConfigScalar value) => value.TryNumber(out var alpha) ? alpha : null;

    private static List<KeyValuePair<string, T>> Pattern<T>(
        OptionReader reader, string key, Func<ConfigScalar, T?> convert, string allowed)
        where T : struct
    {
        var entries = new List<KeyValuePair<string, T>>();
        var node = reader.Node(key);
        if (node is not null and not ConfigMap)
            reader.Fault(key, node.Describe(), "an object whose keys are module names");
        if (node is ConfigMap { Count: > MostPatterns })
            reader.Fault(key, node.Describe(), $"at most {MostPatterns:N0} module names");
        foreach (var (name, value) in ((node as ConfigMap)?.Entries ?? []).Take(MostPatterns))
        {
            if (value is ConfigScalar scalar && convert(scalar) is { } converted)
                entries.Add(KeyValuePair.Create(name, converted));
            else
                reader.Fault(key, $"{value.Describe()} for {Quote.Of(name)}", allowed);
            CheckPattern(reader, key, name);
        }

        return entries;
    }

    private static string Initialisation(OptionReader reader)
    {
        var init = reader.Text("init_lora_weights", "true").ToLowerInvariant();
        if (BaseChangingInits.Contains(init)
            || DecomposingInits.Any(name => init.StartsWith(name + "_niter", StringComparison.Ordinal)))
        {
            reader.Fault(
                "init_lora_weights",
                Quote.Of(init) + ", which also changes the base's weights",
                PlainLora,
                "save it with PEFT's path_initial_model_for_weight_conversion");
        }

        return init;
    }

    private static void RefuseUnsupported(OptionReader reader)
    {
        var bias = reader.Text("bias", "none");
        if (bias != "none")
            reader.Fault("bias", Quote.Of(bias), "\"none\"", "train without biases");
        foreach (var (key, advice) in Refused)
        {
            if (reader.Node(key) is { } node && IsUsed(node))
                reader.Fault(key, node.Describe(), PlainLora, advice);
        }

        foreach (var key in WithoutEffect)
            reader.Node(key);
    }

    private static bool IsUsed(ConfigNode node) => node switch
    {
        ConfigScalar { IsNull: true } => false,
        ConfigScalar scalar => !(scalar.TryBoolean(out var isOn) && !isOn),
        ConfigList list => list.Items.Count > 0,
        ConfigMap map => map.Count > 0,
        _ => true,
    };
}
