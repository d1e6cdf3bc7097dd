using System.Globalization;
using Peft.Formats.Configuration;
using Peft.Formats.Files;

namespace Peft.Formats.HuggingFace;

/// <summary>
/// The <c>adapter_config.json</c> of a plain LoRA as Hugging Face PEFT reads and writes it. Defaults are PEFT's.
/// </summary>
public sealed record LoraAdapterConfig
{
    /// <summary>The file's name in an adapter directory.</summary>
    public const string FileName = "adapter_config.json";

    /// <summary>What to do about a directory that holds no adapter itself.</summary>
    public static string AdviceWithout(string directory)
    {
        if (!Directory.Exists(directory))
            return MissingPath.Advice(directory);
        // PEFT saves an adapter that is not called default in a directory of its name, and trainers save checkpoint-N.
        var below = AdaptersBelow(directory);
        var newest = below.MaxBy(StepOf);
        return newest is null ? "check the path"
            : StepOf(newest) < 0 ? $"did you mean {below[0]}?"
            : $"its training was interrupted: continue that, or name the newest checkpoint, {newest}";
    }

    private static List<string> AdaptersBelow(string directory)
    {
        try
        {
            return [.. Directory.EnumerateDirectories(directory).Order(StringComparer.Ordinal)
                .Where(inner => File.Exists(Path.Combine(inner, FileName)))];
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            return []; // this would only have been advice
        }
    }

    // -1 for what is no checkpoint.
    private static int StepOf(string directory)
    {
        const string Prefix = "checkpoint-";
        var name = Path.GetFileName(directory);
        return name.StartsWith(Prefix, StringComparison.Ordinal) && int.TryParse(name[Prefix.Length..],
            NumberStyles.None, CultureInfo.InvariantCulture, out var step) ? step : -1;
    }

    /// <summary>Hub id or path of the base model; null or empty when unknown.</summary>
    public string? BaseModelNameOrPath { get; init; }

    /// <summary>Revision of the base model on the Hub.</summary>
    public string? Revision { get; init; }

    /// <summary><c>CAUSAL_LM</c>, <c>SEQ_2_SEQ_LM</c>, ...; null when unknown.</summary>
    public string? TaskType { get; init; }

    /// <summary>Rank where <see cref="RankPattern"/> says nothing else.</summary>
    public int R { get; init; } = 8;

    /// <summary>
    /// Alpha where <see cref="AlphaPattern"/> says nothing else; whole in most files, but not in all.
    /// </summary>
    public double LoraAlpha { get; init; } = 8;

    /// <summary>Probability of dropping an input of the adapter while training.</summary>
    public double LoraDropout { get; init; }

    /// <summary>
    /// Names of the modules adapted: the exact path or its end after a dot. Empty when <see
    /// cref="TargetModulesPattern"/>
    /// is used, or when the file has neither and PEFT's table by architecture applies.
    /// </summary>
    public IReadOnlyList<string> TargetModules { get; init; } = [];

    /// <summary>Regular expression on the whole module path, or <c>all-linear</c>; null when a list is used.</summary>
    public string? TargetModulesPattern { get; init; }

    /// <summary>Names of modules left out although they match.</summary>
    public IReadOnlyList<string> ExcludeModules { get; init; } = [];

    /// <summary>Regular expression of modules left out; null when a list or nothing is used.</summary>
    public string? ExcludeModulesPattern { get; init; }

    /// <summary>Indices of the layers adapted; empty for all.</summary>
    public IReadOnlyList<int> LayersToTransform { get; init; } = [];

    /// <summary>Names of the lists that hold layers, for <see cref="LayersToTransform"/>; empty for any.</summary>
    public IReadOnlyList<string> LayersPattern { get; init; } = [];

    /// <summary>End of a module path (name or regular expression) to its rank; the first that matches counts.</summary>
    public IReadOnlyList<KeyValuePair<string, int>> RankPattern { get; init; } = [];

    /// <summary>
    /// End of a module path (name or regular expression) to its alpha; the first that matches counts.
    /// </summary>
    public IReadOnlyList<KeyValuePair<string, double>> AlphaPattern { get; init; } = [];

    /// <summary>Scale by alpha / sqrt(r) in place of alpha / r.</summary>
    public bool UseRslora { get; init; }

    /// <summary>Whether each output has a magnitude of its own (DoRA).</summary>
    public bool UseDora { get; init; }

    /// <summary>Always <c>none</c>: trained biases of the base are refused by <see cref="Read"/>.</summary>
    public string Bias { get; init; } = "none";

    /// <summary>True where the base stores its weights as (in, out), as GPT-2 does.</summary>
    public bool FanInFanOut { get; init; }

    /// <summary>Modules that were trained whole, by name or path tail.</summary>
    public IReadOnlyList<string> ModulesToSave { get; init; } = [];

    /// <summary>Tokens whose rows of the embedding table were trained.</summary>
    public IReadOnlyList<int> TrainableTokenIndices { get; init; } = [];

    /// <summary>What the file calls that table; null where it only lists the tokens.</summary>
    public string? TrainableTokenModule { get; init; }

    /// <summary>How the weights were first drawn, as text: <c>true</c>, <c>false</c>, <c>gaussian</c>, ...</summary>
    public string InitLoraWeights { get; init; } = "true";

    /// <summary>Reads the file in an adapter directory.</summary>
    /// <param name="directory">The adapter directory.</param>
    /// <param name="warn">Told of each key that is not known and therefore without effect.</param>
    /// <exception cref="UserException">There is no such file, or it is not a LoRA.</exception>
    /// <exception cref="UserException">It is not JSON.</exception>
    /// <exception cref="FaultsException">Values are wrong or features are used that are not supported; all are
    /// listed.</exception>
    public static LoraAdapterConfig Read(string directory, Action<string> warn) =>
        LoraAdapterConfigReader.Read(directory, warn);

    /// <summary>Rank of the adapter on a module, by its path in the Hugging Face model.</summary>
    public int RankOf(string modulePath) => First(RankPattern, modulePath, R);

    /// <summary>Alpha of the adapter on a module.</summary>
    public double AlphaOf(string modulePath) => First(AlphaPattern, modulePath, LoraAlpha);

    /// <summary>What B A is multiplied by on a module: alpha / r, or alpha / sqrt(r).</summary>
    public double ScalingOf(string modulePath)
    {
        var r = RankOf(modulePath);
        return AlphaOf(modulePath) / (UseRslora ? Math.Sqrt(r) : r);
    }

    /// <summary>
    /// The keys that PEFT has long known, so that older releases read the file too, sorted; <c>exclude_modules</c>
    /// only when used.
    /// </summary>
    public ConfigMap ToMap()
    {
        var values = new SortedDictionary<string, ConfigNode>(StringComparer.Ordinal)
        {
            ["alpha_pattern"] = Map(AlphaPattern.Select(entry => (entry.Key, entry.Value))),
            ["auto_mapping"] = ConfigScalar.Null(""),
            ["base_model_name_or_path"] = ConfigScalar.Of(BaseModelNameOrPath),
            ["bias"] = ConfigScalar.Of(Bias),
            ["fan_in_fan_out"] = ConfigScalar.Of(FanInFanOut),
            ["inference_mode"] = ConfigScalar.Of(true),
            ["init_lora_weights"] = InitLoraWeights is "true" or "false"
                ? ConfigScalar.Of(InitLoraWeights == "true")
                : ConfigScalar.Of(InitLoraWeights),
            ["layers_pattern"] = TextsOrNull(LayersPattern),
            ["layers_to_transform"] = LayersToTransform.Count == 0
                ? ConfigScalar.Null("")
                : new ConfigList("", 0, LayersToTransform.Select(layer => ConfigScalar.Of((long)layer))),
            ["lora_alpha"] = Short(LoraAlpha),
            ["lora_dropout"] = ConfigScalar.Of(LoraDropout),
            ["modules_to_save"] = TextsOrNull(ModulesToSave),
            ["peft_type"] = ConfigScalar.Of("LORA"),
            ["r"] = ConfigScalar.Of((long)R),
            ["rank_pattern"] = Map(RankPattern.Select(entry => (entry.Key, (double)entry.Value))),
            ["revision"] = ConfigScalar.Of(Revision),
            ["target_modules"] = PatternOrTexts(TargetModulesPattern, TargetModules),
            ["task_type"] = ConfigScalar.Of(TaskType),
            ["use_dora"] = ConfigScalar.Of(UseDora),
            ["use_rslora"] = ConfigScalar.Of(UseRslora),
        };
        if (ExcludeModulesPattern is not null || ExcludeModules.Count > 0)
            values["exclude_modules"] = PatternOrTexts(ExcludeModulesPattern, ExcludeModules);
        if (TrainableTokenIndices.Count > 0)
        {
            values["trainable_token_indices"] = new ConfigList(
                "", 0, TrainableTokenIndices.Select(id => ConfigScalar.Of((long)id)));
        }

        return new ConfigMap("", 0, values);
    }

    /// <summary><see cref="ToMap"/> as JSON with an indent of two, as PEFT writes it.</summary>
    public string ToJson() => ConfigText.ToJson(ToMap());

    private static T First<T>(IReadOnlyList<KeyValuePair<string, T>> patterns, string modulePath, T otherwise)
    {
        foreach (var (pattern, value) in patterns)
        {
            if (ModulePattern.MatchesEnd(pattern, modulePath))
                return value;
        }

        return otherwise;
    }

    // Whole alphas are written as whole numbers: PEFT types them so.
    private static ConfigScalar Short(double value) =>
        Math.Floor(value) == value && Math.Abs(value) < 1e15 ? ConfigScalar.Of((long)value) : ConfigScalar.Of(value);

    private static ConfigNode TextsOrNull(IReadOnlyList<string> values) =>
        values.Count == 0
            ? ConfigScalar.Null("")
            : new ConfigList("", 0, values.Select(value => ConfigScalar.Of(value)));

    private static ConfigNode PatternOrTexts(string? pattern, IReadOnlyList<string> values) =>
        pattern is null ? TextsOrNull(values) : ConfigScalar.Of(pattern);

    private static ConfigMap Map(IEnumerable<(string Key, double Value)> entries) =>
        new("", 0, entries.Select(entry => KeyValuePair.Create<string, ConfigNode>(entry.Key, Short(entry.Value))));
}
