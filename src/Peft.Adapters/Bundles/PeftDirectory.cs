using System.Text;
using Peft.Adapters.Lora;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Bundles;

/// <summary>The matrices of one projection of a plain LoRA.</summary>
/// <remarks>Shapes: Down (A) [R, D], Up (B) [O, R]. Units: the projection adds <c>scale · B A x</c>.</remarks>
/// <param name="Path">Module path.</param>
/// <param name="Down">A.</param>
/// <param name="Up">B.</param>
public sealed record PeftModule(string Path, Tensor Down, Tensor Up)
{
    /// <summary>DoRA's magnitude of each output, [O]; null: none.</summary>
    public Tensor? Magnitude { get; init; }
}

/// <summary>A plain LoRA as Hugging Face PEFT knows it: settings and two matrices a projection.</summary>
/// <param name="Config">What adapter_config.json holds.</param>
/// <param name="Modules">The adapted projections.</param>
public sealed record PeftAdapter(LoraAdapterConfig Config, IReadOnlyList<PeftModule> Modules)
{
    /// <summary>What is trained beside them, by its name in the file: whole modules, the table of tokens.</summary>
    public IReadOnlyList<(string Name, Tensor Tensor)> Others { get; init; } = [];

    /// <summary>A plain LoRA of ours. What it took out of the base comes back as further ranks, so that it fits the
    /// original base.</summary>
    /// <remarks>Source: huggingface/peft 5d602fd, <c>subtract_mutated_init</c> and <c>save_pretrained</c>: A and the
    /// first A stacked, B beside minus the first B, twice the rank and a scale that stays.</remarks>
    public static PeftAdapter Of(AdaptedModel adapted, string baseName) =>
        new(
            adapted.Modules.Any(module => module.TakenOut is not null)
                ? WithTwiceTheRank(PeftConfig.ToLora(adapted, baseName)) : PeftConfig.ToLora(adapted, baseName),
            [.. adapted.Modules.Select(Of)])
        {
            Others = [.. adapted.Parts.SelectMany(part => part.State)
                .Select(pair => (BundleTensors.NameInFile(pair.Name, isPlainLora: true), pair.Tensor))],
        };

    /// <summary>One expert of a mixture, or the part that is not routed: some projections with scales of their
    /// own.</summary>
    /// <param name="adapted">The mixture.</param>
    /// <param name="part">Which of its matrices.</param>
    /// <param name="baseName">The base model's name.</param>
    /// <remarks>
    /// Where the router sets the scale (FlyLoRA, ReMix), alpha becomes scale · r, so that a reader which knows no
    /// router computes the same product.
    /// </remarks>
    public static PeftAdapter Of(AdaptedModel adapted, MixturePart part, string baseName)
    {
        var config = PeftConfig.ToLora(adapted, baseName);
        if (part.Modules.Count < adapted.Modules.Count)
            config = Named(config, part.Modules.Select(module => module.Path));
        var modules = part.Modules.Select(module => OnOriginal(
            module, module.DownOf(part.IndexIn(module)), module.UpOf(part.IndexIn(module)).contiguous())).ToList();
        if (part.Modules.Any(module => module.TakenOut is not null))
            config = WithRanks(config, modules);
        var scales = part.Modules.Select(module => module.Shape.Scale).ToList();
        var disagrees = part.Modules.Any(module => !Agrees(config, module));
        return new(disagrees ? WithScales(config, [.. modules.Zip(scales)]) : config, modules);
    }

    /// <summary>Refuses what was read where it differs from what was written, in names or in a single bit.</summary>
    /// <exception cref="UserException">It differs.</exception>
    public static void RequireEqual(string directory, PeftAdapter written, PeftAdapter read)
    {
        using var off = torch.no_grad();
        var modules = read.Modules.ToDictionary(module => module.Path, StringComparer.Ordinal);
        var faults = new Faults();
        foreach (var module in written.Modules)
        {
            if (!modules.Remove(module.Path, out var found) || !found.Down.SameAs(module.Down)
                || !found.Up.SameAs(module.Up)
                || !(module.Magnitude is { } own ? found.Magnitude?.SameAs(own) is true : found.Magnitude is null))
                faults.Add(
                    module.Path, "not what was to be written", "the adapter's own matrices",
                    "look at the disk, and write it again");
        }
        var others = read.Others.ToDictionary(pair => pair.Name, pair => pair.Tensor, StringComparer.Ordinal);
        foreach (var (name, tensor) in written.Others)
        {
            if (!others.Remove(name, out var found) || !found.SameAs(tensor.cpu()))
                faults.Add(
                    name, "not what was to be written", "the adapter's own tensor",
                    "look at the disk, and write it again");
        }

        foreach (var path in modules.Keys.Concat(others.Keys))
            faults.Add(path, "written", "the adapter's own projections only");
        faults.ThrowIfAny(directory);
    }

    /// <summary>The configuration with its targets named one by one.</summary>
    internal static LoraAdapterConfig Named(LoraAdapterConfig config, IEnumerable<string> paths) => config with
    {
        TargetModules = [.. paths],
        TargetModulesPattern = null,
        ExcludeModules = [],
        ExcludeModulesPattern = null,
        LayersToTransform = [],
        LayersPattern = [],
    };

    private static PeftModule Of(MixtureProjection module) =>
        OnOriginal(module, module.Down, module.Up) with { Magnitude = module.Magnitude };

    // On the base as it is: what was taken out of it goes off by further ranks.
    private static PeftModule OnOriginal(MixtureProjection module, Tensor down, Tensor up)
    {
        if (module.TakenOut is not { } first)
            return new PeftModule(module.Path, down, up);
        using var off = torch.no_grad();
        return new PeftModule(module.Path, torch.cat([down, first.Down], 0), torch.cat([up, -first.Up], 1));
    }

    private static LoraAdapterConfig WithRanks(LoraAdapterConfig config, IReadOnlyList<PeftModule> modules)
    {
        var usual = modules.GroupBy(module => module.Down.shape[0]).OrderByDescending(group => group.Count())
            .First().Key;
        return config with
        {
            InitLoraWeights = "true",
            R = (int)usual,
            RankPattern = [.. modules.Where(module => module.Down.shape[0] != usual)
                .Select(module => KeyValuePair.Create(module.Path, (int)module.Down.shape[0]))],
        };
    }

    private static LoraAdapterConfig WithTwiceTheRank(LoraAdapterConfig config)
    {
        var alpha = config.UseRslora ? Math.Sqrt(2) : 2;
        return config with
        {
            InitLoraWeights = "true",
            R = 2 * config.R,
            LoraAlpha = alpha * config.LoraAlpha,
            RankPattern = [.. config.RankPattern.Select(pair => KeyValuePair.Create(pair.Key, 2 * pair.Value))],
            AlphaPattern = [.. config.AlphaPattern.Select(pair => KeyValuePair.Create(pair.Key, alpha * pair.Value))],
        };
    }

    private static bool Agrees(LoraAdapterConfig config, MixtureProjection module) =>
        Math.Abs(config.ScalingOf(module.Path) - module.Shape.Scale) <= 1e-12 * Math.Abs(module.Shape.Scale);

    private static LoraAdapterConfig WithScales(
        LoraAdapterConfig config, IReadOnlyList<(PeftModule Module, double Scale)> modules)
    {
        var usual = modules.GroupBy(AlphaOf).OrderByDescending(group => group.Count()).First().Key;
        return config with
        {
            UseRslora = false,
            LoraAlpha = usual,
            AlphaPattern = [.. modules.Where(module => AlphaOf(module) != usual)
                .Select(module => KeyValuePair.Create(module.Module.Path, AlphaOf(module)))],
        };
    }

    private static double AlphaOf((PeftModule Module, double Scale) given) =>
        given.Scale * given.Module.Down.shape[0];
}

/// <summary>Directories of a plain LoRA as Hugging Face PEFT writes them.</summary>
/// <remarks>Source: huggingface/peft 5d602fd; the names of tensors stand at <see cref="BundleTensors"/>.</remarks>
public static class PeftDirectory
{
    private const string DownEnd = ".lora_A.weight";
    private const string UpEnd = ".lora_B.weight";
    private const string MagnitudeEnd = ".lora_magnitude_vector";

    private static readonly Dictionary<string, string> Metadata = new() { ["format"] = "pt" };

    /// <summary>Writes adapter_config.json, adapter_model.safetensors and the model card.</summary>
    public static void Write(string directory, PeftAdapter adapter, string card)
    {
        Directory.CreateDirectory(directory);
        BundleFiles.WriteText(directory, BundleFiles.Config, adapter.Config.ToJson());
        SafetensorsWriter.WriteFile(
            Path.Combine(directory, BundleFiles.Weights), [
                .. adapter.Modules.SelectMany(ToWrite),
                .. adapter.Others.Select(pair => BundleTensors.ToWrite(pair.Name, pair.Tensor))], Metadata);
        BundleFiles.WriteText(directory, BundleFiles.Card, card);
    }

    /// <summary>Reads a directory by its own word, without a base: pairs of matrices, ranks, targets, finite
    /// numbers.</summary>
    /// <exception cref="UserException">It holds no LoRA, or parts of it contradict each other; all at once.</exception>
    public static PeftAdapter Read(string directory, Action<string>? warn = null)
    {
        var config = LoraAdapterConfig.Read(directory, warn ?? (_ => { }));
        var weights = AdapterWeights.Open(directory);
        var faults = new Faults();
        var isOther = weights.Entries.ToLookup(entry => IsOther(config, entry.Key, weights.Entries));
        var modules = HeldBy(faults, config, isOther[false].ToDictionary(StringComparer.Ordinal))
            .Select(held => ReadModule(faults, config, held)).OfType<PeftModule>().ToList();
        CheckTargets(faults, config, modules);
        if (weights.Entries.Count == 0)
            faults.Add(BundleFiles.Weights, "no tensors", "lora_A and lora_B of every adapted projection");
        faults.ThrowIfAny(weights.Files.Count > 0 ? weights.Files[0] : directory);
        var others = isOther[true].Select(entry => (entry.Key, Tensor: BundleTensors.Read(faults, entry.Value)))
            .Where(pair => pair.Tensor is not null).Select(pair => (pair.Key, pair.Tensor!)).ToList();
        faults.ThrowIfAny(weights.Files.Count > 0 ? weights.Files[0] : directory);
        return new PeftAdapter(config, modules) { Others = others };
    }

    private static bool IsOfTable(
        LoraAdapterConfig config, string name, IReadOnlyDictionary<string, SafetensorsEntry> entries)
    {
        var end = name.LastIndexOf('.');
        if (name[(end + 1)..] is not ("lora_embedding_A" or "lora_embedding_B") || end <= BundleTensors.Prefix.Length
            || entries.ContainsKey(name[..end] + DownEnd))
            return false;
        var options = PeftConfig.ToOptions(config, PeftConfig.DefaultTargets);
        return TargetSelection.Targeted([name[BundleTensors.Prefix.Length..end]], head: null, options).Any();
    }

    private static bool IsOther(
        LoraAdapterConfig config, string name, IReadOnlyDictionary<string, SafetensorsEntry> entries) =>
        name.StartsWith(BundleTensors.Prefix, StringComparison.Ordinal)
        && (IsOfTable(config, name, entries)
            || (config.TrainableTokenIndices.Count > 0
                && name.EndsWith(".token_adapter.trainable_tokens_delta", StringComparison.Ordinal))
            || config.ModulesToSave.Any(
                module => SavedModule.Holds(module, name[BundleTensors.Prefix.Length..])));

    /// <summary>The projections that a file has matrices for, by the names of its tensors.</summary>
    /// <param name="tensorNames">Names in the file.</param>
    /// <param name="ending">What follows the path of A.</param>
    public static IReadOnlyList<string> ModulesOf(IEnumerable<string> tensorNames, string ending = DownEnd) =>
        [.. tensorNames
            .Where(name =>
                name.StartsWith(BundleTensors.Prefix, StringComparison.Ordinal)
                && name.EndsWith(ending, StringComparison.Ordinal)
                && name.Length > BundleTensors.Prefix.Length + ending.Length)
            .Select(name => name[BundleTensors.Prefix.Length..^ending.Length])
            .Order(StringComparer.Ordinal)];

    private static IEnumerable<SafetensorsWrite> ToWrite(PeftModule module) =>
    [
        BundleTensors.ToWrite(BundleTensors.Prefix + module.Path + DownEnd, module.Down),
        BundleTensors.ToWrite(BundleTensors.Prefix + module.Path + UpEnd, module.Up),
        .. module.Magnitude is { } magnitude
            ? [BundleTensors.ToWrite(BundleTensors.Prefix + module.Path + MagnitudeEnd, magnitude)]
            : (SafetensorsWrite[])[],
    ];

    private sealed record Held(string Path, SafetensorsEntry Down, SafetensorsEntry Up, SafetensorsEntry? Magnitude);

    private static List<Held> HeldBy(
        Faults faults, LoraAdapterConfig config, IReadOnlyDictionary<string, SafetensorsEntry> entries)
    {
        var pairs = new List<Held>();
        var used = new HashSet<string>(StringComparer.Ordinal);
        foreach (var path in ModulesOf(entries.Keys))
        {
            var (down, up) = (BundleTensors.Prefix + path + DownEnd, BundleTensors.Prefix + path + UpEnd);
            used.UnionWith([down, up]);
            var magnitude = config.UseDora ? BundleTensors.Prefix + path + MagnitudeEnd : null;
            if (magnitude is not null && used.Add(magnitude) && !entries.ContainsKey(magnitude))
                faults.Add(magnitude, "missing", "a magnitude beside every lora_A, as use_dora says");
            if (entries.TryGetValue(up, out var entry))
                pairs.Add(new(
                    path, entries[down], entry, magnitude is null ? null : entries.GetValueOrDefault(magnitude)));
            else
                faults.Add(up, "missing", "lora_B beside every lora_A");
        }
        BundleTensors.NoteNames(
            faults, "not used", entries.Keys.Where(name => !used.Contains(name)),
            "lora_A and lora_B of linear projections");
        return pairs;
    }

    private static PeftModule? ReadModule(
        Faults faults, LoraAdapterConfig config, Held held)
    {
        var (path, down, up, magnitude) = held;
        var rank = config.RankOf(path);
        foreach (var (entry, at) in new[] { (down, 0), (up, 1) })
        {
            if (entry.Shape.Count != 2 || entry.Shape[at] != rank)
                faults.Add(
                    entry.Name, BundleTensors.Shape(entry.Shape), at == 0 ? $"[{rank}, inputs]" : $"[outputs, {rank}]",
                    "adapter_config.json says this rank");
        }
        if (magnitude is not null && !(magnitude.Shape is [var outputs] && up.Shape is [var height, _]
            && outputs == height))
            faults.Add(
                magnitude.Name, BundleTensors.Shape(magnitude.Shape), "[outputs], one for each row of lora_B");
        return BundleTensors.Read(faults, down) is { } a && BundleTensors.Read(faults, up) is { } b
            ? new PeftModule(path, a, b)
            {
                Magnitude = magnitude is null ? null : BundleTensors.Read(faults, magnitude),
            }
            : null;
    }

    private static void CheckTargets(Faults faults, LoraAdapterConfig config, List<PeftModule> modules)
    {
        var options = PeftConfig.ToOptions(config, PeftConfig.DefaultTargets);
        var paths = modules.Select(module => module.Path).ToList();
        if (paths.Count == 0)
            return;
        var targeted = TargetSelection.Targeted(paths, head: null, options).ToHashSet(StringComparer.Ordinal);
        BundleTensors.NoteNames(
            faults, "not a target", paths.Where(
                path => !targeted.Contains(path)), "projections that target_modules of adapter_config.json names");
    }
}
