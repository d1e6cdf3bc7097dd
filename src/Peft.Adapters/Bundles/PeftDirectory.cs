using System.Text;
using Peft.Adapters.Lora;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Bundles;

/// <summary>Directories of a plain LoRA as Hugging Face PEFT writes them.</summary>
/// <remarks>Source: huggingface/peft 5d602fd; the names of tensors stand at <see cref="BundleTensors"/>.</remarks>
public static class PeftDirectory
{
    private const string DownEnd = ".lora_A.weight";
    private const string UpEnd = ".lora_B.weight";

    private static readonly Dictionary<string, string> Metadata = new() { ["format"] = "pt" };

    /// <summary>Writes adapter_config.json, adapter_model.safetensors and the model card.</summary>
    public static void Write(string directory, PeftAdapter adapter, string card)
    {
        ArgumentNullException.ThrowIfNull(adapter);
        Directory.CreateDirectory(directory);
        BundleFiles.WriteText(directory, BundleFiles.Config, adapter.Config.ToJson());
        SafetensorsWriter.WriteFile(Path.Combine(directory, BundleFiles.Weights), [.. adapter.Modules.SelectMany(ToWrite)], Metadata);
        BundleFiles.WriteText(directory, BundleFiles.Card, card);
    }

    /// <summary>Reads a directory by its own word, without a base: pairs of matrices, ranks, targets, finite numbers.</summary>
    /// <exception cref="UserException">It holds no LoRA, or parts of it contradict each other; all at once.</exception>
    public static PeftAdapter Read(string directory, Action<string>? warn = null)
    {
        var config = LoraAdapterConfig.Read(directory, warn ?? (_ => { }));
        var weights = SafetensorsCheckpoint.Open(directory, BundleFiles.Weights);
        var faults = new Faults();
        var modules = Pairs(faults, weights.Entries).Select(pair => ReadModule(faults, config, pair)).OfType<PeftModule>().ToList();
        CheckTargets(faults, config, modules);
        if (weights.Entries.Count == 0)
            faults.Add(BundleFiles.Weights, "no tensors", "lora_A and lora_B of every adapted projection");
        faults.ThrowIfAny(weights.Files.Count > 0 ? weights.Files[0] : directory);
        return new PeftAdapter(config, modules);
    }

    /// <summary>The projections that a file has matrices for, by the names of its tensors.</summary>
    /// <param name="tensorNames">Names in the file.</param>
    /// <param name="ending">What stands behind the path of A.</param>
    public static IReadOnlyList<string> ModulesOf(IEnumerable<string> tensorNames, string ending = DownEnd)
    {
        ArgumentNullException.ThrowIfNull(tensorNames);
        return [.. tensorNames
            .Where(name => name.StartsWith(BundleTensors.Prefix, StringComparison.Ordinal) && name.EndsWith(ending, StringComparison.Ordinal)
                && name.Length > BundleTensors.Prefix.Length + ending.Length)
            .Select(name => name[BundleTensors.Prefix.Length..^ending.Length])
            .Order(StringComparer.Ordinal)];
    }

    private static IEnumerable<SafetensorsWrite> ToWrite(PeftModule module) =>
    [
        BundleTensors.ToWrite(BundleTensors.Prefix + module.Path + DownEnd, module.Down),
        BundleTensors.ToWrite(BundleTensors.Prefix + module.Path + UpEnd, module.Up),
    ];

    private static List<(string Path, SafetensorsEntry Down, SafetensorsEntry Up)> Pairs(
        Faults faults, IReadOnlyDictionary<string, SafetensorsEntry> entries)
    {
        var pairs = new List<(string Path, SafetensorsEntry Down, SafetensorsEntry Up)>();
        var used = new HashSet<string>(StringComparer.Ordinal);
        foreach (var path in ModulesOf(entries.Keys))
        {
            var (down, up) = (BundleTensors.Prefix + path + DownEnd, BundleTensors.Prefix + path + UpEnd);
            used.UnionWith([down, up]);
            if (entries.TryGetValue(up, out var entry))
                pairs.Add((path, entries[down], entry));
            else
                faults.Add(up, "missing", "lora_B beside every lora_A");
        }
        BundleTensors.NoteNames(faults, "not used", entries.Keys.Where(name => !used.Contains(name)), "lora_A and lora_B of linear projections");
        return pairs;
    }

    private static PeftModule? ReadModule(Faults faults, LoraAdapterConfig config, (string Path, SafetensorsEntry Down, SafetensorsEntry Up) pair)
    {
        var (path, down, up) = pair;
        var rank = config.RankOf(path);
        foreach (var (entry, at) in new[] { (down, 0), (up, 1) })
        {
            if (entry.Shape.Count != 2 || entry.Shape[at] != rank)
                faults.Add(entry.Name, BundleTensors.Shape(entry.Shape), at == 0 ? $"[{rank}, inputs]" : $"[outputs, {rank}]", "adapter_config.json says this rank");
        }
        return BundleTensors.Read(faults, down) is { } a && BundleTensors.Read(faults, up) is { } b ? new PeftModule(path, a, b) : null;
    }

    private static void CheckTargets(Faults faults, LoraAdapterConfig config, List<PeftModule> modules)
    {
        var options = PeftConfig.ToOptions(config, AdapterLoader.DefaultTargets);
        var paths = modules.Select(module => module.Path).ToList();
        if (paths.Count == 0)
            return;
        var targeted = TargetSelection.Targeted(paths, options).ToHashSet(StringComparer.Ordinal);
        BundleTensors.NoteNames(
            faults, "not a target", paths.Where(path => !targeted.Contains(path)), "projections that target_modules of adapter_config.json names");
    }
}
