using Peft.Adapters.Lora;
using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;

namespace Peft.Adapters.Bundles;

/// <summary>Between our options and the adapter_config.json of Hugging Face PEFT.</summary>
public static class PeftConfig
{
    /// <summary>The <c>peft_type</c> of mixtures. PEFT itself refuses it by name, rather than loading a part of the
    /// adapter.</summary>
    public const string MixtureType = "MIXTURE_OF_LORA";

    /// <summary>The targets of files that name none: PEFT's table by model_type.</summary>
    public static ModuleNames DefaultTargets { get; } = ModuleNames.List(["q_proj", "v_proj"]);

    /// <summary>The options that a PEFT directory describes.</summary>
    /// <param name="config">Its adapter_config.json.</param>
    /// <param name="targets">The targets where the file names none: PEFT then goes by the architecture.</param>
    public static AdapterOptions ToOptions(LoraAdapterConfig config, ModuleNames targets) =>
        new AdapterOptions
        {
            R = config.R,
            LoraAlpha = config.LoraAlpha,
            LoraDropout = config.LoraDropout,
            UseRslora = config.UseRslora,
            UseDora = config.UseDora,
            TargetModules = Names(config.TargetModulesPattern, config.TargetModules) is { IsEmpty: false } given
                ? given
                : targets,
            ExcludeModules = Names(config.ExcludeModulesPattern, config.ExcludeModules),
            LayersToTransform = config.LayersToTransform,
            LayersPattern = config.LayersPattern,
            RankPattern = config.RankPattern,
            AlphaPattern = config.AlphaPattern,
            InitLoraWeights = config.InitLoraWeights == "gaussian"
                || WeightInitialization.ChangesBase(config.InitLoraWeights) ? config.InitLoraWeights : "true",
            ModulesToSave = config.ModulesToSave,
            TrainableTokenIndices = config.TrainableTokenIndices,
        };

    /// <summary>
    /// The text of adapter_config.json: for plain LoRA exactly what PEFT reads; for a mixture the same keys with
    /// another
    /// <c>peft_type</c> and the sections <c>experts</c> and <c>router</c>.
    /// </summary>
    public static string ToJson(AdaptedModel adapted, string baseName) =>
        ToJson(adapted.Options, ToLora(adapted, baseName));

    /// <summary>The same of an adapter that is not attached.</summary>
    /// <param name="options">The adapter.</param>
    /// <param name="paths">The projections of its base, or only those that it adapts.</param>
    /// <param name="head">The output embedding; null where it is not among them.</param>
    /// <param name="baseName">The base.</param>
    /// <param name="fanInFanOut">Whether its base stores matrices as [inputs, outputs].</param>
    public static string ToJson(
        AdapterOptions options, IEnumerable<string> paths, string? head, string baseName, bool fanInFanOut = false) =>
        ToJson(options, ToLora(options, TargetSelection.Resolved(paths, head, options), baseName) with
        {
            FanInFanOut = fanInFanOut,
        });

    private static string ToJson(AdapterOptions options, LoraAdapterConfig config)
    {
        var map = config.ToMap();
        if (options.IsPlainLora)
            return ConfigText.ToJson(map);
        var own = ConfigJson.Parse(options.ToJson().ToJsonString(), BundleFiles.Config);
        map = map.With("peft_type", ConfigScalar.Of(MixtureType)).With("experts", own["experts"]!)
            .With("router", own["router"]!);
        return ConfigText.ToJson(new ConfigMap("", 0, map.Entries.OrderBy(entry => entry.Key, StringComparer.Ordinal)));
    }

    /// <summary>The settings of an attached adapter as PEFT names them; a mixture's experts and router have no place
    /// there.</summary>
    internal static LoraAdapterConfig ToLora(AdaptedModel adapted, string baseName)
    {
        var model = adapted.Model;
        return ToLora(
            adapted.Options,
            TargetSelection.Resolved(
                model.Projections.Select(projection => projection.Path), model.HeadProjection.Path, adapted.Options),
            baseName) with
        {
            FanInFanOut = adapted.Modules.Any(module => module.Wrapped.IsStoredInputsFirst),
        };
    }

    private static LoraAdapterConfig ToLora(AdapterOptions options, ModuleNames targets, string baseName)
    {
        return new LoraAdapterConfig
        {
            BaseModelNameOrPath = baseName,
            TaskType = "CAUSAL_LM",
            R = options.R,
            LoraAlpha = options.LoraAlpha,
            LoraDropout = options.LoraDropout,
            UseRslora = options.UseRslora,
            UseDora = options.UseDora,
            TargetModules = targets.Names,
            TargetModulesPattern = targets.Pattern,
            ExcludeModules = options.ExcludeModules.Names,
            ExcludeModulesPattern = options.ExcludeModules.Pattern,
            LayersToTransform = options.LayersToTransform,
            LayersPattern = options.LayersPattern,
            RankPattern = options.RankPattern,
            AlphaPattern = options.AlphaPattern,
            InitLoraWeights = options.InitLoraWeights,
            ModulesToSave = options.ModulesToSave,
            TrainableTokenIndices = options.TrainableTokenIndices,
        };
    }

    private static ModuleNames Names(string? pattern, IReadOnlyList<string> names) =>
        pattern is not null
            ? ModuleNames.Matching(pattern)
            : names.Count > 0
            ? ModuleNames.List(names)
            : ModuleNames.None;
}
