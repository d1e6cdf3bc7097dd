using System.Globalization;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.Safetensors;
using Peft.Models;
using Peft.Models.Loading;

namespace Peft.Recipes.Transfer;

/// <summary>A full checkpoint of a base with an adapter in its weights.</summary>
/// <remarks>
/// Source: LoRA, arXiv:2106.09685, section 4.1: <c>W + s B A</c>; computed in float32, rounded to the stored type once.
/// </remarks>
public sealed class MergedCheckpoint
{
    private readonly LoadedModel _loaded;
    private readonly IReadOnlyDictionary<string, Tensor> _gates;
    private readonly long _maxShardSize;
    private readonly Dictionary<string, MixtureProjection> _modules;
    private readonly Dictionary<string, IReadOnlyList<long>> _shapes;
    private readonly (string Name, Tensor Weight)? _ownHead;

    /// <summary>Prepares the checkpoint.</summary>
    /// <param name="loaded">The base in float32 (float64 where it is stored so), with the adapter on it.</param>
    /// <param name="gates">Constant gates of each projection.</param>
    /// <param name="options">Type and size of the files.</param>
    public MergedCheckpoint(LoadedModel loaded, IReadOnlyDictionary<string, Tensor> gates, ExportOptions options)
    {
        (_loaded, _gates, _maxShardSize) = (loaded, gates, options.MaxShardSize);
        Dtype = options.Dtype == "auto" ? ModelLoader.StoredType(loaded.BaseDirectory)
            : DtypeNames.Parse(options.Dtype);
        var model = loaded.Model;
        _modules = loaded.Adapted!.Modules.ToDictionary(module => module.Path + ".weight", StringComparer.Ordinal);
        _ownHead = loaded.Adapted!.PartsHead ? (model.Config.HeadName, model.HeadWeight) : null;
        _shapes = model.StateDict().ToDictionary(
            pair => pair.Name, pair => (IReadOnlyList<long>)pair.Tensor.shape, StringComparer.Ordinal);
        if (_ownHead is { } head)
            _shapes.Add(head.Name, head.Weight.shape);
    }

    /// <summary>What is said where the base's one tensor for head and embeddings becomes two; null where not.</summary>
    public string? UntiedRemark => _ownHead is { } head
        ? $"{head.Name} is stored apart from the embeddings (tie_word_embeddings: false): the adapter changes one of "
            + "them"
        : null;

    /// <summary>The type of its tensors.</summary>
    public ScalarType Dtype { get; }

    /// <summary>Files of weights that were written.</summary>
    public int FileCount { get; private set; }

    /// <summary>What a mean of gates costs, in a sentence.</summary>
    public static string ApproximationRemark(IEnumerable<double> errors)
    {
        var all = errors.ToList();
        return string.Create(
            CultureInfo.InvariantCulture,
            $"The adapter routes by its input; here the gates are replaced by their means over a text. What the "
            + $"adapter adds changes by {all.Average():P1} on average ({all.Max():P1} at most) over the projections.");
    }

    /// <summary>Writes weights, configs, tokenizer and card.</summary>
    public void Write(string directory, string card, CancellationToken stop)
    {
        FullModelFiles.From(_loaded.BaseDirectory, _loaded.TokenizerDirectory).Save(
            directory, _loaded.Model, Dtype, (name, weight) => Transform(name, weight, stop), _maxShardSize,
            _ownHead);
        AtomicFile.WriteText(Path.Combine(directory, "README.md"), card);
        FileCount = SafetensorsCheckpoint.Open(directory).Files.Count;
    }

    /// <summary>
    /// Reads the checkpoint again: names, shapes, finite numbers, logits. The model it was made of is freed first.
    /// </summary>
    /// <exception cref="UserException">It is not what it should be.</exception>
    public ExportProof Prove(string directory, Tensor ids, Tensor expected)
    {
        _loaded.Dispose();
        RequireTensors(directory);
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        using var model = ModelLoader.Load(directory, ScalarType.Float32, torch.CPU);
        if (model.StateDict().FirstOrDefault(pair => !pair.Tensor.isfinite().all().ToBoolean())
            is { Name: not null } broken)
            throw UserException.At(
                broken.Name, $"a value that is not a finite number in {Dtype.Name()}; nothing was written", null,
                "try --dtype float32");
        var found = model.Forward(ids, ForwardPass.ForInference()).to(torch.float32);
        return AdapterExport.Compare("merged checkpoint", 0, expected, found, Precision(Dtype),
            Dtype is ScalarType.BFloat16 or ScalarType.Float16 ? Dtype.Name() : null);
    }

    private Tensor Transform(string name, Tensor weight, CancellationToken stop)
    {
        stop.ThrowIfCancellationRequested();
        if (_modules.TryGetValue(name, out var module))
            return module.Merge(weight, _gates[module.Path]);
        return _loaded.Adapted!.Parts.Aggregate(weight, (value, part) => part.Merge(name, value));
    }

    private void RequireTensors(string directory)
    {
        var entries = SafetensorsCheckpoint.Open(directory).Entries;
        var faults = new Faults();
        foreach (var (name, shape) in _shapes)
        {
            if (!entries.TryGetValue(name, out var entry) || !entry.Shape.SequenceEqual(shape))
                faults.Add(name, "missing or of another shape", $"[{string.Join(", ", shape)}]");
        }
        foreach (var name in entries.Keys.Where(name => !_shapes.ContainsKey(name)))
            faults.Add(name, "a tensor that the base does not have");
        faults.ThrowIfAny(directory);
    }

    // What one rounding of every weight may do to a logit, relative to the largest.
    private static double Precision(ScalarType dtype) => dtype switch
    {
        ScalarType.BFloat16 => 5e-2,
        ScalarType.Float16 => 1e-2,
        _ => 1e-4,
    };
}
