using Peft.Adapters.Lora;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Formats.Safetensors;
using Peft.Models.Loading;
using Peft.Models;

namespace Peft.Adapters.Bundles;

/// <summary>How an adapter is put on a base.</summary>
public sealed record AttachOptions
{
    /// <summary>The base it is put on; null leaves the fingerprint uncompared.</summary>
    public BaseIdentity? Base { get; init; }

    /// <summary>Whether an adapter trained on another base is taken all the same.</summary>
    /// <value>Default false.</value>
    public bool AllowOtherBase { get; init; }

    /// <summary>Told of configuration keys that have no effect here.</summary>
    public Action<string> Warn { get; init; } = _ => { };
}

/// <summary>Puts trained adapters on a base model: our bundles, exported mixtures, and LoRA directories that Hugging Face PEFT wrote.</summary>
public static class AdapterLoader
{
    /// <summary>The targets of files that name none: PEFT's table by model_type.</summary>
    public static ModuleNames DefaultTargets { get; } = ModuleNames.List(["q_proj", "v_proj"]);

    /// <summary>Attaches what a directory holds.</summary>
    /// <param name="model">The base model; wrapped in place. After a fault it is to be loaded again.</param>
    /// <param name="directory">
    /// A bundle, an exported mixture, or a directory with adapter_config.json and adapter_model.safetensors.
    /// </param>
    /// <param name="options">The base's identity and what is tolerated.</param>
    /// <exception cref="UserException">Another base, a damaged bundle, tensors that do not fit, pickled weights.</exception>
    public static AdaptedModel Attach(CausalLanguageModel model, string directory, AttachOptions? options = null)
    {
        options ??= new AttachOptions();
        return BundleFiles.IsBundle(directory) ? AttachBundle(model, directory, options)
            : MixtureDirectory.IsOne(directory) ? AttachMixture(model, directory, options)
            : AttachPeft(model, directory, options);
    }

    /// <summary>The base model an adapter names: Hub id or path, as it was written; empty where it names none.</summary>
    /// <exception cref="UserException">The directory holds no adapter.</exception>
    public static string BaseNameOf(string directory) =>
        ManifestOf(directory)?.Base.Name ?? LoraAdapterConfig.Read(directory, _ => { }).BaseModelNameOrPath ?? "";

    /// <summary>What a bundle or an exported mixture says of itself, its files not compared; null for a directory of PEFT's.</summary>
    /// <exception cref="UserException">The manifest cannot be read.</exception>
    public static BundleManifest? ManifestOf(string directory) =>
        BundleFiles.IsBundle(directory) ? BundleManifest.Read(BundleFiles.PathOf(directory, BundleFiles.Manifest))
        : MixtureDirectory.IsOne(directory) ? BundleManifest.Read(Path.Combine(directory, MixtureDirectory.Manifest))
        : null;

    private static AdaptedModel AttachBundle(CausalLanguageModel model, string directory, AttachOptions options)
    {
        var bundle = BundleReader.Load(directory);
        RequireBase(directory, bundle.Manifest.Base, options);
        var adapted = Attach(model, bundle.Manifest.Adapter, bundle.Manifest.Seed, bundle.Weights.Path, bundle.Weights.Entries);
        BundleTensors.Load(adapted, bundle.Weights.Path, bundle.Weights.Entries);
        return adapted;
    }

    private static AdaptedModel AttachMixture(CausalLanguageModel model, string directory, AttachOptions options)
    {
        var manifest = MixtureDirectory.Open(directory);
        RequireBase(directory, manifest.Base, options);
        return MixtureDirectory.Attach(model, directory, manifest);
    }

    private static void RequireBase(string directory, BaseIdentity trainedOn, AttachOptions options)
    {
        if (options.Base is { } given && !options.AllowOtherBase && given.Fingerprint != trainedOn.Fingerprint)
            throw new UserException(
                $"{directory}: was trained on {trainedOn.Name} (fingerprint {Short(trainedOn)}), the base given is {given.Name} "
                + $"(fingerprint {Short(given)}); name the base it was trained on");
    }

    private static AdaptedModel AttachPeft(CausalLanguageModel model, string directory, AttachOptions options)
    {
        var config = LoraAdapterConfig.Read(directory, options.Warn);
        var weights = SafetensorsCheckpoint.Open(directory, BundleFiles.Weights);
        RequireArchitecture(model, directory, weights);
        if (config.FanInFanOut)
            options.Warn($"{directory}: fan_in_fan_out has no effect - the projections of a {model.Config.ModelType} model are stored (out, in)");
        if (config.TaskType is { } task && task != "CAUSAL_LM")
            options.Warn($"{directory}: task_type {Quote.Of(task)} has no effect - the adapter is put on a causal language model");
        var adapter = PeftConfig.ToOptions(config, DefaultTargets);
        var entries = SavedBase.Without(model, weights.Entries, options.Warn);
        var adapted = Attach(model, adapter, seed: 0, weights.Files[0], entries, $"{Path.Combine(directory, BundleFiles.Config)}: ");
        BundleTensors.Load(adapted, weights.Files[0], entries);
        return adapted;
    }

    // One message in place of a list of all its tensors.
    private static void RequireArchitecture(CausalLanguageModel model, string directory, SafetensorsCheckpoint weights)
    {
        var paths = model.Projections.Select(projection => projection.Path).ToList();
        var modules = PeftDirectory.ModulesOf(weights.Entries.Keys);
        if (modules.Count > 0 && !modules.Any(paths.Contains))
            throw new UserException(
                $"{directory}: adapts {modules[0]}{(modules.Count > 1 ? $" and {modules.Count - 1} more" : "")} - the base is a "
                + $"{model.Config.ModelType} model with {paths[0]} and so on - it was made for another architecture; name its base with --base");
    }

    // A file may name targets that this base lacks; PEFT passes over them, and the tensors decide in the end.
    private static AdaptedModel Attach(
        CausalLanguageModel model, AdapterOptions adapter, long seed, string path, IReadOnlyDictionary<string, SafetensorsEntry> entries,
        string place = TargetSelection.RecipePlace)
    {
        var selected = TargetSelection.Select(
            model.Projections.Select(projection => projection.Path), model.HeadProjection.Path, adapter, strict: false, place);
        BundleTensors.RequireHeld(model, adapter, selected, path, entries);
        return AdapterAttachment.Attach(model, adapter, selected, seed);
    }

    private static string Short(BaseIdentity identity) => CheckpointFingerprint.Short(identity.Fingerprint);
}
