using System.Text.Json.Nodes;
using Peft.Adapters.Lora;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Bundles;

/// <summary>One adapted projection in numbers.</summary>
/// <param name="Path">Module path.</param>
/// <param name="Experts">Experts.</param>
/// <param name="Rank">Rank of each.</param>
/// <param name="Scale">Factor on their output.</param>
/// <param name="DownNorm">Frobenius norm of A, all experts together.</param>
/// <param name="UpNorm">Frobenius norm of B, all experts together.</param>
/// <param name="AddedNorms">Frobenius norm of scale · B A, expert by expert.</param>
public sealed record ModuleSummary(
    string Path, int Experts, int Rank, double Scale, double DownNorm, double UpNorm, IReadOnlyList<double> AddedNorms)
{
    /// <summary>The projection whose A it has; null: its own.</summary>
    public string? DownOwner { get; init; }

    /// <summary>The projection whose B it has; null: its own.</summary>
    public string? UpOwner { get; init; }

    /// <summary>The same with the owners that a manifest tells.</summary>
    internal ModuleSummary Owned(BundleManifest manifest) => this with
    {
        DownOwner = OwnerOf(manifest, Path, "lora_A"),
        UpOwner = OwnerOf(manifest, Path, "lora_B"),
    };

    /// <summary>The projection that owns a matrix of another; null: it is its own.</summary>
    internal static string? OwnerOf(BundleManifest manifest, string path, string factor) =>
        manifest.SharedFactors.FirstOrDefault(pair => pair.Key == $"{path}.{factor}").Value;
}

/// <summary>What a directory holds, by its own word and without a base: a bundle, an exported mixture, or a LoRA of
/// PEFT's.</summary>
/// <param name="Kind">Which of them, in words.</param>
/// <param name="Options">Its settings.</param>
/// <param name="Manifest">Its manifest; null for PEFT's.</param>
/// <param name="Config">Its adapter_config.json where that is PEFT's; null for mixtures.</param>
/// <param name="Modules">Its projections.</param>
/// <param name="RouterTensors">Its routers' tensors: name, type, shape.</param>
public sealed record AdapterSummary(
    string Kind, AdapterOptions Options, BundleManifest? Manifest, LoraAdapterConfig? Config,
    IReadOnlyList<ModuleSummary> Modules,
    IReadOnlyList<SafetensorsEntry> RouterTensors)
{
    /// <summary>What is trained beside them: whole modules, rows of the token table, a LoRA on it.</summary>
    public IReadOnlyList<SafetensorsEntry> OtherTensors { get; init; } = [];

    /// <summary>Reads a directory: hashes where it has them, names, shapes, finite numbers.</summary>
    /// <exception cref="UserException">It holds no adapter, or a damaged one; all faults at once.</exception>
    public static AdapterSummary Read(string directory, Action<string>? warn = null)
    {
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        return BundleFiles.IsBundle(directory) ? OfBundle(directory)
            : MixtureDirectory.IsOne(directory) ? OfMixture(directory)
            : OfPeft(directory, warn);
    }

    /// <summary>The summary as JSON: the manifest's keys, or PEFT's under <c>adapter</c>, then <c>kind</c>,
    /// <c>modules</c>, <c>router_tensors</c>, <c>other_tensors</c>.</summary>
    public JsonObject ToJson()
    {
        var json = Manifest is null
            ? new JsonObject
            {
                ["adapter"] = Options.ToJson(),
                ["base_model"] = new JsonObject { ["name"] = Config?.BaseModelNameOrPath ?? "" }
            }
            : JsonNode.Parse(Manifest.ToJson())!.AsObject();
        json["kind"] = Kind;
        json["modules"] = new JsonArray([.. Modules.Select(ToJson)]);
        json["router_tensors"] = ToJson(RouterTensors);
        json["other_tensors"] = ToJson(OtherTensors);
        return json;
    }

    private static JsonArray ToJson(IReadOnlyList<SafetensorsEntry> tensors) =>
        [.. tensors.Select(entry => (JsonNode)new JsonObject
        {
            ["name"] = entry.Name,
            ["dtype"] = entry.Dtype.ToString(),
            ["shape"] = new JsonArray([.. entry.Shape.Select(length => (JsonNode)JsonValue.Create(length))]),
        })];

    private static JsonNode ToJson(ModuleSummary module) => new JsonObject
    {
        ["path"] = module.Path,
        ["experts"] = module.Experts,
        ["r"] = module.Rank,
        ["scale"] = module.Scale,
        ["norm_a"] = module.DownNorm,
        ["norm_b"] = module.UpNorm,
        ["norm_added"] = new JsonArray([.. module.AddedNorms.Select(norm => (JsonNode)JsonValue.Create(norm))]),
        ["owner_a"] = module.DownOwner ?? module.Path,
        ["owner_b"] = module.UpOwner ?? module.Path,
    };

    private static AdapterSummary OfBundle(string directory)
    {
        var bundle = OwnBundle.Open(directory);
        var options = bundle.Manifest.Adapter;
        var ending = options.IsPlainLora ? ".weight" : ".experts";
        var faults = new Faults();
        var modules = new List<ModuleSummary>();
        var entries = bundle.Weights.Entries;
        var sharing = bundle.Manifest.SharedFactors.Select(pair => pair.Key[..Math.Max(0, pair.Key.LastIndexOf('.'))]);
        foreach (var path in PeftDirectory.ModulesOf(entries.Keys, ".lora_A" + ending).Union(sharing).Order(
            StringComparer.Ordinal))
        {
            var (down, up) = (EntryOf(path, "lora_A"), EntryOf(path, "lora_B"));
            if (down is not null && up is not null)
                AddModule(faults, modules, options, path, down, up, entries);
            else if (bundle.Manifest.SharedFactors.Count > 0 || options.Router is not { Sharing.UpAcrossLayers: true })
                faults.Add( // bundles of earlier versions do not tell what is shared
                    $"{path}.{(down is null ? "lora_A" : "lora_B")}", "missing",
                    "lora_A and lora_B of every projection");
        }

        SafetensorsEntry? EntryOf(string path, string factor) => entries.GetValueOrDefault(
            $"{BundleTensors.Prefix}{ModuleSummary.OwnerOf(bundle.Manifest, path, factor) ?? path}.{factor}{ending}");
        var others = Others(bundle.Weights.Entries.Values);
        foreach (var entry in Routers(bundle.Weights.Entries.Values).Concat(others))
            BundleTensors.Read(faults, entry);
        faults.ThrowIfAny(bundle.Weights.Path);
        return new(
            options.IsPlainLora
                ? "a LoRA bundle"
                : "a mixture bundle", options, bundle.Manifest, null,
            [.. modules.Select(module => module.Owned(bundle.Manifest))], Routers(bundle.Weights.Entries.Values))
        { OtherTensors = others };
    }

    private static void AddModule(
        Faults faults, List<ModuleSummary> modules, AdapterOptions options, string path, SafetensorsEntry down,
        SafetensorsEntry up, IReadOnlyDictionary<string, SafetensorsEntry> entries)
    {
        var rank = TargetSelection.RankOf(options, path);
        var hasOneDown = options.Router is { Sharing.HasOneDown: true }
            && down.Shape.Count == 2 && down.Shape[0] == rank;
        if (down.Shape.Count != 2 || up.Shape.Count != 2 || (down.Shape[0] != up.Shape[1] && !hasOneDown)
            || up.Shape[1] % rank != 0 || up.Shape[1] == 0)
        {
            faults.Add(
                path, $"lora_A {BundleTensors.Shape(down.Shape)}, lora_B {BundleTensors.Shape(up.Shape)}",
                $"experts of rank {rank} in both");
            return;
        }
        using var scope = torch.NewDisposeScope();
        if (BundleTensors.Read(faults, down) is { } a && BundleTensors.Read(faults, up) is { } b)
            modules.Add(Summary(
                path, rank, options.ScaleOf(rank, TargetSelection.AlphaOf(options, path), a.shape[1]), a,
                WithCores(faults, path, b, entries), options.IsPlainLora ? FirstOf(faults, path, entries) : null));
    }

    // The B of every expert, its core in it where it has one.
    private static Tensor WithCores(
        Faults faults, string path, Tensor up, IReadOnlyDictionary<string, SafetensorsEntry> entries) =>
        entries.TryGetValue($"{BundleTensors.Prefix}{path}.lora_core", out var entry)
        && BundleTensors.Read(faults, entry) is { } cores && cores.dim() == 3 && cores.shape[2] == up.shape[1]
            ? up.to(torch.float32).mm(cores.to(torch.float32).reshape(-1, up.shape[1]).t()) : up;

    // What the adapter took out of the base; null: nothing.
    private static TakenOut? FirstOf(
        Faults faults, string path, IReadOnlyDictionary<string, SafetensorsEntry> entries) =>
        entries.TryGetValue($"{BundleTensors.Prefix}{path}.{TakenOut.DownName}", out var down)
        && entries.TryGetValue($"{BundleTensors.Prefix}{path}.{TakenOut.UpName}", out var up)
        && BundleTensors.Read(faults, down) is { } a && BundleTensors.Read(faults, up) is { } b
            ? new TakenOut(a, b) : null;

    private static AdapterSummary OfMixture(string directory)
    {
        var manifest = MixtureDirectory.Open(directory);
        var parts = MixtureDirectory.PartNames(manifest)
            .Select(part => PeftDirectory.Read(Path.Combine(directory, part))).ToList();
        var modules = parts
            .SelectMany(part => part.Modules.Select(module => (module, Scale: part.Config.ScalingOf(module.Path))))
            .GroupBy(pair => pair.module.Path, StringComparer.Ordinal)
            .Select(group => Summary(
                group.Key, (int)group.First().module.Down.shape[0], group.First().Scale,
                torch.cat([.. group.Select(pair => pair.module.Down)]), torch.cat(
                    [.. group.Select(pair => pair.module.Up)], 1)))
            .OrderBy(module => module.Path, StringComparer.Ordinal);
        var routers = SafetensorsFile.Open(Path.Combine(directory, MixtureDirectory.RouterFile)).Entries.Values;
        var faults = new Faults();
        foreach (var entry in routers)
            BundleTensors.Read(faults, entry);
        faults.ThrowIfAny(Path.Combine(directory, MixtureDirectory.RouterFile));
        return new(
            "an exported mixture", manifest.Adapter, manifest, null,
            [.. modules.Select(module => module.Owned(manifest))], Routers(routers));
    }

    private static AdapterSummary OfPeft(string directory, Action<string>? warn)
    {
        var adapter = PeftDirectory.Read(directory, warn);
        var modules = adapter.Modules.Select(module => Summary(
            module.Path, (int)module.Down.shape[0], adapter.Config.ScalingOf(module.Path), module.Down, module.Up));
        return new(
            "a LoRA of Hugging Face PEFT", PeftConfig.ToOptions(
                adapter.Config, PeftConfig.DefaultTargets), null, adapter.Config, [.. modules], [])
        { OtherTensors = Others(AdapterWeights.Open(directory).Entries.Values) };
    }

    // ‖B A‖² = Σ (BᵀB) ∘ (A Aᵀ): nothing of the base's size.
    private static ModuleSummary Summary(
        string path, int rank, double scale, Tensor down, Tensor up, TakenOut? first = null)
    {
        using var scope = torch.NewDisposeScope();
        var (a, b) = (down.to(torch.float64), up.to(torch.float64));
        var experts = (int)(b.shape[1] / rank);
        var hasOneDown = a.shape[0] < b.shape[1];
        if (first is not null)
            return new(path, experts, rank, scale, a.norm().ToDouble(), b.norm().ToDouble(),
                [Math.Abs(scale) * (b.mm(a) - first.Up.to(torch.float64).mm(first.Down.to(torch.float64))).norm()
                    .ToDouble()]);
        var norms = Enumerable.Range(0, experts).Select(expert =>
        {
            var rows = hasOneDown ? a : a.narrow(0, (long)expert * rank, rank);
            var columns = b.narrow(1, (long)expert * rank, rank);
            return Math.Abs(scale) * Math.Sqrt(
                Math.Max(0, (columns.t().mm(columns) * rows.mm(rows.t())).sum().ToDouble()));
        });
        return new(path, experts, rank, scale, a.norm().ToDouble(), b.norm().ToDouble(), [.. norms]);
    }

    // Copies of the base's own weights, which PEFT may store too, are told apart only beside the base.
    private static List<SafetensorsEntry> Others(IEnumerable<SafetensorsEntry> entries) =>
        [.. entries.Where(entry => !entry.Name.Contains(".router.", StringComparison.Ordinal)
                && !entry.Name.Contains(".lora_A.", StringComparison.Ordinal)
                && !entry.Name.Contains(".lora_B.", StringComparison.Ordinal))
            .OrderBy(entry => entry.Name, StringComparer.Ordinal)];

    private static List<SafetensorsEntry> Routers(IEnumerable<SafetensorsEntry> entries) =>
        [.. entries.Where(entry => entry.Name.Contains(".router.", StringComparison.Ordinal))
            .OrderBy(entry => entry.Name, StringComparer.Ordinal)];
}
