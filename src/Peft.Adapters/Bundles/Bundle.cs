using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.HuggingFace;
using Peft.Formats.Safetensors;
using Peft.Models;
using Peft.Models.Loading;

namespace Peft.Adapters.Bundles;

/// <summary>How an adapter is put on a base.</summary>
public sealed record AttachOptions
{
    /// <summary>The base it is put on; null leaves the fingerprint uncompared.</summary>
    public BaseIdentity? Base { get; init; }

    /// <summary>Whether an adapter trained on another base is taken all the same.</summary>
    /// <value>Default false.</value>
    public bool AllowOtherBase { get; init; }
}

/// <summary>
/// A trained adapter on disk, opened once: what it says of itself is read and its files are compared with their hashes;
/// tensors are read when it is put on a base. Ours, exported mixtures, and LoRA directories of Hugging Face PEFT.
/// </summary>
public abstract class Bundle
{
    private protected const string BaseByOption = "name the base it was trained on with --base DIR";
    private protected const string BaseByKey = "write the base it was trained on as model.model_name_or_path";

    private protected Bundle(string directory, AdapterOptions options, BundleManifest? manifest, Action<string>? warn)
    {
        (Directory, Options, Manifest) = (directory, options, manifest);
        Warn = warn ?? (_ => { });
    }

    /// <summary>Where it is.</summary>
    public string Directory { get; }

    /// <summary>Its settings.</summary>
    public AdapterOptions Options { get; }

    /// <summary>What its manifest says; null for a directory of PEFT's.</summary>
    public BundleManifest? Manifest { get; }

    /// <summary>The base model it names: Hub id or path, as it was written; empty where it names none.</summary>
    public abstract string BaseName { get; }

    /// <summary>Told of what has no effect here.</summary>
    private protected Action<string> Warn { get; }

    /// <summary>Opens a directory.</summary>
    /// <param name="directory">
    /// A bundle, an exported mixture, or a directory with adapter_config.json and adapter_model.safetensors.
    /// </param>
    /// <param name="warn">Told of configuration keys and tensors that have no effect here; null: nobody is.</param>
    /// <exception cref="UserException">It holds no adapter, or a damaged one.</exception>
    public static Bundle Open(string directory, Action<string>? warn = null) =>
        BundleFiles.IsBundle(directory) ? OwnBundle.Open(directory)
        : MixtureDirectory.IsOne(directory) ? new MixtureBundle(directory)
        : new PeftBundle(directory, warn);

    /// <summary>The manifest alone, its files not compared; null for a directory of PEFT's.</summary>
    /// <exception cref="UserException">The manifest cannot be read.</exception>
    public static BundleManifest? ManifestOf(string directory) =>
        BundleFiles.IsBundle(directory) ? BundleManifest.Read(BundleFiles.PathOf(directory, BundleFiles.Manifest))
        : MixtureDirectory.IsOne(directory) ? BundleManifest.Read(Path.Combine(directory, MixtureDirectory.Manifest))
        : null;

    /// <summary>The base model a directory names, its files not compared; empty where it names none.</summary>
    /// <exception cref="UserException">The directory holds no adapter.</exception>
    public static string BaseNameOf(string directory) =>
        ManifestOf(directory)?.Base.Name ?? LoraAdapterConfig.Read(directory, _ => { }).BaseModelNameOrPath ?? "";

    /// <summary>Puts the adapter on a base model.</summary>
    /// <param name="model">The base model; wrapped in place, or left whole where something does not fit.</param>
    /// <param name="options">The base's identity and what is tolerated.</param>
    /// <exception cref="UserException">Another base, or tensors that do not fit; all faults at once.</exception>
    public AdaptedModel Attach(CausalLanguageModel model, AttachOptions? options = null)
    {
        if (Manifest is not null && options is { Base: { } given, AllowOtherBase: false }
            && given.Fingerprint != Manifest.Base.Fingerprint)
        {
            throw UserException.At(
                Directory, $"trained on {Described(Manifest.Base)}; the base given is {Described(given)}", null,
                BaseByOption);
        }

        var tensors = Open(model, BaseByOption);
        var own = OptionsFor(model);
        // A file may name targets that this base lacks; PEFT passes over them, and the tensors decide in the end.
        var selected = TargetSelection.Select(
            TargetSelection.PathsOf(model, own), model.HeadProjection.Path, own, strict: false, Place);
        return AdapterAttachment.Attach(model, own, selected, Manifest?.Seed ?? 0, tensors);
    }

    /// <summary>Puts the adapter on a base model to learn on under settings of a recipe (<c>adapter.from</c>): every
    /// tensor, those of routers among them.</summary>
    /// <param name="model">The base model; wrapped in place, or left whole where something does not fit.</param>
    /// <param name="options">The recipe's settings; those that say what the tensors mean must be the adapter's
    /// own.</param>
    /// <param name="seed">Seed of what training draws.</param>
    /// <param name="on">The base it is put on.</param>
    /// <param name="recipe">What to call the recipe in messages.</param>
    /// <exception cref="UserException">Another base, other settings or other tensors; all faults of a kind at
    /// once.</exception>
    public AdaptedModel Continue(
        CausalLanguageModel model, AdapterOptions options, long seed, BaseIdentity on, string recipe)
    {
        RequireBase(Directory, on, "adapter.from");
        var own = OptionsFor(model);
        var (mine, theirs) = (Targets(options), Targets(own));
        var faults = FaultsOf(own.DifferencesOf(options));
        if (mine.Except(theirs).Concat(theirs.Except(mine)).FirstOrDefault() is { } other)
            faults.Add(
                "adapter.target_modules", $"with {Words.Count(mine.Count, "projection")}",
                $"the {theirs.Count} of {Directory}",
                $"{(mine.Contains(other) ? "it has none for" : "missing here:")} {other}");
        faults.ThrowIfAny(recipe);
        try
        {
            return AdapterAttachment.Attach(model, options, seed, strict: true, Open(model, BaseByKey));
        }
        catch (UserException) when (own.RouterDifferencesOf(options).Any())
        {
            // Some of a router's settings say what shapes its tensors have.
            FaultsOf(own.RouterDifferencesOf(options)).ThrowIfAny(recipe);
            throw;
        }

        List<string> Targets(AdapterOptions of) =>
            [.. TargetSelection.Targeted(TargetSelection.PathsOf(model, of), model.HeadProjection.Path, of)];

        Faults FaultsOf(IEnumerable<SettingDifference> differences)
        {
            var noted = new Faults();
            foreach (var (key, found, wanted) in differences)
                noted.Add(
                    $"adapter.{key}", found, $"{wanted}, as adapter.from {Directory} has it",
                    noted.Any || Manifest is null ? null : $"its settings are in {BundleFiles.PathOf(
                        Directory, BundleFiles.Recipe)}");
            return noted;
        }
    }

    /// <summary>Refuses another base for an adapter that a recipe names; its files are not compared.</summary>
    /// <param name="directory">The adapter's directory.</param>
    /// <param name="on">The base it is put on; null leaves fingerprints uncompared.</param>
    /// <param name="key">Where the adapter is named, for the message.</param>
    /// <exception cref="UserException">It was trained on another one.</exception>
    public static void RequireBase(string directory, BaseIdentity? on, string key)
    {
        if (on is not null && ManifestOf(directory)?.Base is { } own && own.Fingerprint != on.Fingerprint)
            throw UserException.At(
                key, $"{directory}, trained on {Described(own)}",
                $"an adapter of this base, {Described(on)}", BaseByKey);
    }

    /// <summary>The settings on one base.</summary>
    private protected virtual AdapterOptions OptionsFor(CausalLanguageModel model) => Options;

    /// <summary>What is before a key of the settings in messages.</summary>
    private protected virtual string Place => TargetSelection.RecipePlace;

    /// <summary>The tensors, looked at against the base they are for.</summary>
    /// <param name="model">That base.</param>
    /// <param name="advice">What to do where it is another one.</param>
    private protected abstract SavedTensors Open(CausalLanguageModel model, string advice);

    private static string Described(BaseIdentity identity) =>
        $"{identity.Name} (fingerprint {CheckpointFingerprint.Short(identity.Fingerprint)})";
}

/// <summary>A bundle that this program wrote.</summary>
public sealed class OwnBundle : Bundle
{
    private const int Attempts = 10;

    private OwnBundle(string directory, BundleManifest manifest, SafetensorsFile weights)
        : base(directory, manifest.Adapter, manifest, null)
    {
        (Manifest, Weights) = (manifest, weights);
    }

    /// <summary>What bundle.json says.</summary>
    public new BundleManifest Manifest { get; }

    /// <summary>Its tensors, not read yet.</summary>
    public SafetensorsFile Weights { get; }

    /// <inheritdoc/>
    public override string BaseName => Manifest.Base.Name;

    /// <summary>Reads bundle.json and compares the hash of every file it names; tensors are checked when they are
    /// attached.</summary>
    /// <exception cref="UserException">The directory is no bundle, or its files are missing or changed; all at
    /// once.</exception>
    /// <remarks>A bundle that another process exchanges meanwhile is read again: what is returned belongs
    /// together.</remarks>
    public static OwnBundle Open(string directory)
    {
        for (var attempt = 1; ; attempt++)
        {
            var before = BundleFiles.State(directory);
            try
            {
                return OpenOnce(directory);
            }
            catch (UserException) when (attempt < Attempts && BundleFiles.State(directory) != before)
            {
                Thread.Sleep(20 * attempt);
            }
        }
    }

    private protected override SavedTensors Open(CausalLanguageModel model, string advice) =>
        new(Weights.Path, Weights.Entries, Options.IsPlainLora, advice);

    private static OwnBundle OpenOnce(string directory)
    {
        if (!BundleFiles.IsBundle(directory))
        {
            throw UserException.At(
                directory,
                System.IO.Directory.Exists(directory) ? $"no {BundleFiles.Manifest}" : "no such directory",
                "the directory of a bundle", LoraAdapterConfig.AdviceWithout(directory));
        }

        var manifest = BundleManifest.Read(BundleFiles.PathOf(directory, BundleFiles.Manifest));
        var faults = new Faults();
        foreach (var (name, expected) in manifest.Files)
        {
            if (name != Path.GetFileName(name) || name is "" or "." or "..")
                faults.Add(Quote.Of(name), "a path", "the name of a file in the bundle's own directory");
            else
                BundleFiles.Compare(faults, directory, name, BundleFiles.PathOf(directory, name), expected);
        }

        foreach (var needed in new[] { BundleFiles.Config, BundleFiles.Weights })
        {
            if (!manifest.Files.Any(file => file.Key == needed))
                faults.Add(needed, "not listed in bundle.json", "its hash there");
        }

        faults.ThrowIfAny(directory);
        return new OwnBundle(
            directory, manifest, SafetensorsFile.Open(BundleFiles.PathOf(directory, BundleFiles.Weights)));
    }
}

/// <summary>An exported mixture.</summary>
internal sealed class MixtureBundle : Bundle
{
    public MixtureBundle(string directory)
        : this(directory, MixtureDirectory.Open(directory))
    {
    }

    private MixtureBundle(string directory, BundleManifest manifest)
        : base(directory, manifest.Adapter, manifest, null)
    {
    }

    public override string BaseName => Manifest!.Base.Name;

    private protected override SavedTensors Open(CausalLanguageModel model, string advice) =>
        new MixtureTensors(Directory, Manifest!, advice);
}

/// <summary>A LoRA directory of Hugging Face PEFT's.</summary>
internal sealed class PeftBundle : Bundle
{
    private readonly LoraAdapterConfig _config;

    public PeftBundle(string directory, Action<string>? warn)
        : this(directory, LoraAdapterConfig.Read(directory, warn ?? (_ => { })), warn)
    {
    }

    private PeftBundle(string directory, LoraAdapterConfig config, Action<string>? warn)
        : base(directory, PeftConfig.ToOptions(config, PeftConfig.DefaultTargets), null, warn)
    {
        _config = config;
    }

    public override string BaseName => _config.BaseModelNameOrPath ?? "";

    private protected override string Place => $"{Path.Combine(Directory, BundleFiles.Config)}: ";

    private protected override AdapterOptions OptionsFor(CausalLanguageModel model) =>
        _config.TargetModules.Count == 0 && _config.TargetModulesPattern is null
            ? Options with { TargetModules = ModuleNames.List(model.Config.DefaultTargets) } : Options;

    private protected override SavedTensors Open(CausalLanguageModel model, string advice)
    {
        var weights = AdapterWeights.Open(Directory);
        RequireArchitecture(model, weights, advice);
        RequireTable(model, advice);
        if (_config.FanInFanOut && !model.HasMatricesInputsFirst)
            Warn($"{Directory}: fan_in_fan_out has no effect: the projections of a {model.Config.ModelType} model are "
                + $"stored (out, in)");
        if (_config.TaskType is { } task && task != "CAUSAL_LM")
            Warn($"{Directory}: task_type {Quote.Of(task)} has no effect: the adapter is put on a causal language "
                + $"model");
        var saved = Options.ModulesToSave;
        return new PeftTensors(weights.Files[0], SavedBase.Without(model, saved, weights.Entries, Warn), advice);
    }

    private void RequireTable(CausalLanguageModel model, string advice)
    {
        var table = model.Embedding.Path;
        if (_config.TrainableTokenModule is { } module && !ModulePattern.IsNamed(module, table))
        {
            throw UserException.At(
                $"{Place}trainable_token_indices", $"tokens of {Quote.Of(module)}",
                $"those of {Quote.Of(table[(table.LastIndexOf('.') + 1)..])}, the table of token vectors of a "
                + $"{model.Config.ModelType} model", $"{advice} if that is another one");
        }
    }

    // One message in place of a list of all its tensors.
    private void RequireArchitecture(CausalLanguageModel model, SafetensorsCheckpoint weights, string advice)
    {
        var paths = model.Projections.Select(projection => projection.Path).ToList();
        var modules = PeftDirectory.ModulesOf(weights.Entries.Keys);
        if (modules.Count > 0 && !modules.Any(paths.Contains))
        {
            throw UserException.At(
                Directory, $"adapts {modules[0]}{(modules.Count > 1 ? $" and {modules.Count - 1} more" : "")}",
                $"projections of a {model.Config.ModelType} model, such as {paths[0]}",
                $"it was made for another architecture: {advice}");
        }
    }
}
