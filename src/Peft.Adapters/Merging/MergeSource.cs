using System.Globalization;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Files;
using Peft.Formats.HuggingFace;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Merging;

/// <summary>One adapter that goes into a merge: its modules by path, none of them read yet.</summary>
public sealed class MergeSource
{
    private const string PlainDown = ".lora_A.weight";
    private const string PlainUp = ".lora_B.weight";
    private const string StackedDown = ".lora_A.experts";
    private const string StackedUp = ".lora_B.experts";

    private readonly Lazy<TaskEmbedding?> _task = new((TaskEmbedding?)null);

    private MergeSource(string name, string directory, AdapterOptions adapter, string weights)
    {
        Name = name;
        Directory = directory;
        Adapter = adapter;
        WeightsPath = weights;
    }

    /// <summary>What the merge calls it.</summary>
    public string Name { get; }

    /// <summary>Where it comes from.</summary>
    public string Directory { get; }

    /// <summary>Its options.</summary>
    public AdapterOptions Adapter { get; }

    /// <summary>The base it was trained on; null where its directory has no fingerprint (PEFT's).</summary>
    public BaseIdentity? Base { get; private init; }

    /// <summary>The base as its configuration names it; empty where it does not.</summary>
    public string BaseName { get; private init; } = "";

    /// <summary>Whether it says that its base stores matrices as [inputs, outputs] (GPT-2's Conv1D).</summary>
    public bool FanInFanOut { get; private init; }

    /// <summary>Hash of its tensors, or of the expert's part of a mixture's.</summary>
    public required Func<string> Hash { get; init; }

    /// <summary>What it brings, by module path.</summary>
    public IReadOnlyDictionary<string, ModuleSource> Modules
    {
        get; private set;
    } = new Dictionary<string, ModuleSource>();

    /// <summary>Whether its A is a frozen sparse projection that chooses ranks (FlyLoRA).</summary>
    public bool RoutesRanks => Adapter.Router is RandomProjectionRouterOptions;

    /// <summary>The file of its tensors, for messages.</summary>
    public string WeightsPath { get; }

    /// <summary>Finds the vectors of a kind by module path; null where the adapter has none.</summary>
    public required Func<string, IReadOnlyDictionary<string, Func<Faults, Tensor?>>?> Vectors { get; init; }

    /// <summary>What it was trained for; null where nobody described it.</summary>
    public TaskEmbedding? Task => _task.Value;

    /// <summary>Finds it.</summary>
    public required Func<TaskEmbedding?> FindTask
    {
        init => _task = new(value);
    }

    /// <summary>Opens a directory: a plain LoRA of ours or of PEFT, a FlyLoRA bundle, or a routed merge, whose experts
    /// come one by one.</summary>
    /// <param name="given">The directory, or NAME=DIRECTORY.</param>
    /// <exception cref="UserException">It is none of these, or damaged.</exception>
    public static IReadOnlyList<MergeSource> Open(string given)
    {
        var (called, directory) = Parse(given);
        var name = called ?? Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(directory)));
        return BundleFiles.IsBundle(directory)
            ? OpenBundle(name, called is not null, directory)
            : [OpenPeft(name, directory)];
    }

    /// <summary>The name, where one is given, and the directory of NAME=DIRECTORY or DIRECTORY.</summary>
    public static (string? Name, string Directory) Parse(string given)
    {
        var equals = System.IO.Directory.Exists(given) ? -1 : given.IndexOf('=', StringComparison.Ordinal);
        return equals < 0 ? (null, given) : (given[..equals], given[(equals + 1)..]);
    }

    private static MergeSource OpenPeft(string name, string directory)
    {
        var weights = AdapterWeights.Open(directory);
        var config = LoraAdapterConfig.Read(directory, _ => { });
        var source = new MergeSource(
            name, directory, PeftConfig.ToOptions(config, PeftConfig.DefaultTargets), weights.Files[0])
        {
            BaseName = config.BaseModelNameOrPath ?? "",
            FanInFanOut = config.FanInFanOut,
            Hash = () => Sha256.OfFile(weights.Files[0]),
            Vectors = kind => VectorsOf(directory, kind),
            FindTask = () => GateFile.TaskOf(directory),
        };
        if (config.UseDora)
            throw UserException.At(
                directory, "a DoRA", "adapters of projections alone",
                "merge it into a checkpoint with peft adapter export --format merged");
        if (source.Adapter.IsVariant)
            throw UserException.At(
                directory, $"trained on what {config.InitLoraWeights} left of the base",
                "adapters of the base as it is", "make it one with peft adapter import and export");
        RequireProjectionsAlone(directory, weights.Entries.Keys);
        source.Modules = ModulesOf(source, weights.Entries, PlainDown, PlainUp, 1, 0);
        return source;
    }

    private static void RequireProjectionsAlone(string directory, IEnumerable<string> names)
    {
        if (names.FirstOrDefault(name => !name.Contains(".lora_A.", StringComparison.Ordinal)
            && !name.Contains(".lora_B.", StringComparison.Ordinal)
            && !name.Contains(".router.", StringComparison.Ordinal)) is { } other)
        {
            throw UserException.At(
                directory, $"holds {other}", "adapters of projections alone",
                other.Contains(".lora_first_", StringComparison.Ordinal)
                    ? "make it a plain LoRA with peft adapter export"
                    : "merge it into a checkpoint with peft adapter export --format merged");
        }
    }

    private static List<MergeSource> OpenBundle(string name, bool isNamed, string directory)
    {
        var bundle = OwnBundle.Open(directory);
        RequireProjectionsAlone(directory, bundle.Weights.Entries.Keys);
        var adapter = bundle.Manifest.Adapter;
        var experts = adapter.Experts.Count;
        if (adapter.Router is { } router and not (IMergedRouterOptions or RandomProjectionRouterOptions))
            throw UserException.At(
                directory, $"a mixture behind router {router.Kind}", "a plain LoRA, a FlyLoRA or a routed merge",
                "its experts were trained together and cannot be told apart");
        if (adapter.Experts.Shared > 0)
            throw UserException.At(
                directory, Words.Count(adapter.Experts.Shared, "shared expert"), "routed experts alone",
                "a merge chooses among adapters, and has none for every token");
        if (adapter.Router is IMergedRouterOptions && isNamed)
            throw UserException.At(
                $"{name}={directory}", "a name for a routed merge, whose experts have names already", null,
                $"write {directory}");
        string File() => bundle.Manifest.Files.First(file => file.Key == BundleFiles.Weights).Value;
        var transposed = ConfigJson.ReadFile(BundleFiles.PathOf(directory, BundleFiles.Config))["fan_in_fan_out"]
            is ConfigScalar stored && stored.TryBoolean(out var isOn) && isOn;
        var sources = new List<MergeSource>();
        for (var expert = 0; expert < (adapter.Router is IMergedRouterOptions ? experts : 1); expert++)
        {
            var number = expert;
            var isMerged = adapter.Router is IMergedRouterOptions;
            var source = new MergeSource(
                isMerged ? adapter.Experts.NameOf(expert) : name, directory, adapter, bundle.Weights.Path)
            {
                Base = bundle.Manifest.Base,
                BaseName = bundle.Manifest.Base.Name,
                FanInFanOut = transposed,
                Hash = isMerged ? () => HashOf(bundle.Manifest, number) ?? File() : File,
                Vectors = isMerged
                    ? kind => VectorsOf(bundle, kind, number)
                    : kind => VectorsOf(directory, kind),
                FindTask = isMerged ? () => TaskOf(bundle, number) : () => GateFile.TaskOf(directory),
            };
            source.Modules = adapter.IsPlainLora
                ? ModulesOf(source, bundle.Weights.Entries, PlainDown, PlainUp, 1, 0)
                : ModulesOf(source, bundle.Weights.Entries, StackedDown, StackedUp, experts, expert);
            sources.Add(source);
        }
        return sources;
    }

    private static string? HashOf(BundleManifest manifest, int expert) =>
        manifest.Merge is { } merge && merge.Adapters.Count > expert ? merge.Adapters[expert].Sha256 : null;

    private static Dictionary<string, Func<Faults, Tensor?>>? VectorsOf(string directory, string kind) =>
        GateFile.Read(directory, kind) is { Count: > 0 } found
            ? found.ToDictionary(
                pair => pair.Key, pair => (Func<Faults, Tensor?>)(faults => BundleTensors.Read(faults, pair.Value)),
                StringComparer.Ordinal)
            : null;

    // A routed merge holds one kind of vector: that of its own method.
    private static Dictionary<string, Func<Faults, Tensor?>>? VectorsOf(OwnBundle bundle, string kind, int expert)
    {
        const string Ending = ".router." + PrototypeRouter.VectorsName;
        if ((MergeCatalog.Find(bundle.Manifest.Adapter.Router!.Kind) as RoutedMerge)?.VectorKind != kind)
            return null;
        return bundle.Weights.Entries.Values
            .Where(entry => entry.Name.EndsWith(Ending, StringComparison.Ordinal))
            .ToDictionary(
                entry => entry.Name[BundleTensors.Prefix.Length..^Ending.Length],
                entry =>
                    (Func<Faults, Tensor?>)(faults => BundleTensors.Read(faults, entry, all => all.select(0, expert))),
                StringComparer.Ordinal);
    }

    // A merge that goes by tasks holds them as well.
    private static TaskEmbedding? TaskOf(OwnBundle bundle, int expert)
    {
        const string Ending = ".router." + GliderRouter.EmbeddingsName;
        if (bundle.Manifest.Adapter is not { Router: GliderRouterOptions router } adapter
            || bundle.Weights.Entries.Values.FirstOrDefault(
                entry => entry.Name.EndsWith(Ending, StringComparison.Ordinal)) is not { } entry)
            return null;
        using var scope = torch.NewDisposeScope();
        var faults = new Faults();
        var vector = BundleTensors.Read(faults, entry, all => all.select(0, expert))?.to(torch.float32).contiguous();
        faults.ThrowIfAny(bundle.Weights.Path);
        var setting = TaskEmbedding.SettingOf(adapter.Experts.NameOf(expert));
        return new(
            bundle.Manifest.Merge?.Settings.FirstOrDefault(pair => pair.Key == setting).Value ?? "",
            router.Query == GliderRouterOptions.Given, [.. vector!.Values<float>()]);
    }

    private static Dictionary<string, ModuleSource> ModulesOf(
        MergeSource source, IReadOnlyDictionary<string, SafetensorsEntry> entries, string down, string up, int experts,
        int expert)
    {
        var faults = new Faults();
        var modules = new Dictionary<string, ModuleSource>(StringComparer.Ordinal);
        foreach (var entry in entries.Values.OrderBy(entry => entry.Name, StringComparer.Ordinal))
        {
            if (entry.Name.Contains(".router.", StringComparison.Ordinal)
                || entry.Name.EndsWith(up, StringComparison.Ordinal))
                continue;
            if (!entry.Name.StartsWith(BundleTensors.Prefix, StringComparison.Ordinal)
                || !entry.Name.EndsWith(down, StringComparison.Ordinal))
            {
                faults.Add(
                    entry.Name, "unknown name", $"names like {BundleTensors.Prefix}PATH{down}",
                    BundleTensors.Advice(entry.Name));
                continue;
            }
            var path = entry.Name[BundleTensors.Prefix.Length..^down.Length];
            if (!entries.TryGetValue(entry.Name[..^down.Length] + up, out var other))
                faults.Add(entry.Name[..^down.Length] + up, "missing", "A and B of every module");
            else if (
                entry.Shape is not [var rows, var width] || other.Shape is not [var height, var columns]
                || rows != columns
                || rows < experts || rows % experts != 0)
                faults.Add(
                    entry.Name, $"A {BundleTensors.Shape(entry.Shape)}, B {BundleTensors.Shape(other.Shape)}",
                    "A [R, D] and B [O, R] of one rank");
            else if (IsPresent(source, entries, path, expert, faults))
            {
                var rank = (int)(rows / experts);
                var module = new ModuleSource(
                    path, height, width, rank, ScaleOf(source.Adapter, path, rank, width), entry, other, expert * rank);
                modules[path] = experts > 1 ? module with { Rank = module.UsedRank(faults) } : module;
            }
        }
        foreach (
            var name in entries.Keys.Where(
                name => name.EndsWith(up, StringComparison.Ordinal) && !entries.ContainsKey(name[..^up.Length] + down)))
            faults.Add(name[..^up.Length] + down, "missing", "A and B of every module");
        if (modules.Count == 0 && !faults.Any)
            faults.Add(source.WeightsPath, "no adapted module", "at least one");
        faults.ThrowIfAny(source.WeightsPath);
        return modules;
    }

    private static double ScaleOf(AdapterOptions adapter, string path, int rank, long inputs) =>
        adapter.ScaleOf(rank, TargetSelection.AlphaOf(adapter, path), inputs);

    private static bool IsPresent(
        MergeSource source, IReadOnlyDictionary<string, SafetensorsEntry> entries, string path, int expert,
        Faults faults)
    {
        if (source.Adapter.Router is not IMergedRouterOptions)
            return true;
        var name = $"{BundleTensors.Prefix}{path}.router.{MergedRouter.PresentName}";
        if (!entries.TryGetValue(name, out var entry) || entry.Shape is not [var count] || expert >= count)
        {
            faults.Add(
                name, "missing or of another shape",
                string.Create(CultureInfo.InvariantCulture, $"[{source.Adapter.Experts.Count}]"));
            return false;
        }
        using var scope = torch.NewDisposeScope();
        return BundleTensors.Read(faults, entry) is { } present
            && present.to(torch.float32).select(0, expert).ToDouble() != 0;
    }
}

/// <summary>One adapter in one module: sizes, scale, and where the tensors lie.</summary>
/// <param name="Path">The module's path.</param>
/// <param name="Out">Output width.</param>
/// <param name="In">Input width.</param>
/// <param name="Rank">Its rank.</param>
/// <param name="Scale">Factor on B A.</param>
/// <param name="DownEntry">A, or A of all experts stacked.</param>
/// <param name="UpEntry">B, or B of all experts side by side.</param>
/// <param name="First">Its first row of A and column of B.</param>
public sealed record ModuleSource(
    string Path, long Out, long In, int Rank, double Scale, SafetensorsEntry DownEntry, SafetensorsEntry UpEntry,
    int First)
{
    /// <summary>Reads A and B; null and a fault where they hold no finite numbers.</summary>
    /// <remarks>Shapes: A [R, D], B [O, R] float32.</remarks>
    public LowRankUpdate? Read(Faults faults)
    {
        var down = BundleTensors.Read(faults, DownEntry, all => all.narrow(0, First, Rank));
        var up = BundleTensors.Read(faults, UpEntry, all => all.narrow(1, First, Rank));
        return down is null || up is null ? null : new LowRankUpdate(down.to(torch.float32), up.to(torch.float32));
    }

    /// <summary>The rank without trailing zeros of a wider neighbour's padding.</summary>
    public int UsedRank(Faults faults)
    {
        using var scope = torch.NewDisposeScope();
        if (Read(faults) is not { } update)
            return Rank;
        var used = update.Down.abs().amax(1L).gt(0).logical_or(update.Up.abs().amax(0L).gt(0)).to(
            torch.float32).Values<float>();
        return Math.Max(1, Array.FindLastIndex(used, value => value != 0) + 1);
    }
}
