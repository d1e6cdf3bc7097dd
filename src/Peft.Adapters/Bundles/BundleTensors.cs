using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Safetensors;
using Peft.Models.Loading;
using Peft.Models;

namespace Peft.Adapters.Bundles;

/// <summary>The tensors of a bundle: their names, and copying them into and out of an attached model.</summary>
/// <remarks>
/// Plain LoRA uses Hugging Face PEFT's names, <c>base_model.model.PATH.lora_A.weight</c> [R, D] and
/// <c>…lora_B.weight</c> [O, R]. A mixture holds per module <c>base_model.model.PATH.lora_A.experts</c> [E·R, D]
/// (expert e has rows e·R to e·R + R − 1),
/// <c>…lora_B.experts</c> [O, E·R] (the same columns), and <c>…router.NAME</c> for each of the router's parameters and
/// saved buffers.
/// </remarks>
public static class BundleTensors
{
    internal const string Prefix = "base_model.model.";
    private const int NamesShown = 8;

    /// <summary>What the file calls a tensor of <see cref="AdaptedModel.State"/>.</summary>
    public static string NameInFile(string name, bool isPlainLora)
    {
        var isExpert = name.EndsWith(".lora_A", StringComparison.Ordinal)
            || name.EndsWith(".lora_B", StringComparison.Ordinal);
        return Prefix + name + (!isExpert ? "" : isPlainLora ? ".weight" : ".experts");
    }

    /// <summary>The tensors of an attached model as entries to write.</summary>
    public static IReadOnlyList<SafetensorsWrite> ToWrite(AdaptedModel adapted) =>
        [.. adapted.State.Select(pair => ToWrite(NameInFile(pair.Name, adapted.Options.IsPlainLora), pair.Tensor))];

    /// <summary>One tensor as an entry to write.</summary>
    internal static SafetensorsWrite ToWrite(string name, Tensor tensor) =>
        new(name, DtypeNames.ToSafetensors(tensor.dtype), tensor.shape, tensor.WriteBytes);

    /// <summary>Copies a file's tensors into an attached model; all faults at once.</summary>
    /// <remarks>Floating tensors of any width are converted to the model's own type.</remarks>
    /// <exception cref="UserException">Tensors are missing, too many, of another shape, or not finite.</exception>
    public static void Load(AdaptedModel adapted, string path, IReadOnlyDictionary<string, SafetensorsEntry> entries)
    {
        Load(
            adapted.State.ToDictionary(
                pair => NameInFile(pair.Name, adapted.Options.IsPlainLora), pair => pair.Tensor,
                StringComparer.Ordinal),
            adapted.Modules.Count, path, entries);
        foreach (var module in adapted.Modules)
            module.TakeOut();
    }

    /// <summary>Copies a file's tensors into the ones given by name; all faults at once.</summary>
    internal static void Load(
        IReadOnlyDictionary<string, Tensor> expected, int modules, string path, IReadOnlyDictionary<string,
        SafetensorsEntry> entries)
    {
        var faults = new Faults();
        NoteMismatch(faults, expected.Keys, entries.Keys, modules);
        foreach (var (name, target) in expected)
        {
            using var scope = torch.NewDisposeScope();
            using var off = torch.no_grad();
            if (entries.TryGetValue(name, out var entry) && Read(faults, entry, target.shape) is { } read)
                target.copy_(read);
        }
        faults.ThrowIfAny(path);
    }

    /// <summary>Notes the tensors that a file lacks, and those that it has beyond what is asked for.</summary>
    internal static void NoteMismatch(Faults faults, IEnumerable<string> asked, IEnumerable<string> held, int modules)
    {
        var (wanted, there) = (asked.ToHashSet(StringComparer.Ordinal), held.ToHashSet(StringComparer.Ordinal));
        NoteNames(
            faults, "missing", wanted.Where(name => !there.Contains(name)), "a tensor for every adapted projection");
        NoteNames(
            faults, "not used", there.Where(
                name => !wanted.Contains(name)), $"only tensors of the {Words.Count(modules, "adapted projection")}");
    }

    /// <summary>Reads a tensor of a shape; null and a fault when it does not fit.</summary>
    internal static Tensor? Read(Faults faults, SafetensorsEntry entry, long[] shape)
    {
        if (entry.Shape.SequenceEqual(shape))
            return Read(faults, entry);
        faults.Add(entry.Name, Shape(entry.Shape), Shape(shape), "this adapter belongs to another base or rank");
        return null;
    }

    /// <summary>Reads a tensor, or a part of it, as it is in the file; null and a fault when its type or its
    /// numbers cannot be used.</summary>
    internal static Tensor? Read(Faults faults, SafetensorsEntry entry, Func<Tensor, Tensor>? part = null)
    {
        if (DtypeNames.ToTorch(entry.Dtype) is not { } dtype
            || !(dtype.IsFloatingPoint() || dtype is ScalarType.Int64 or ScalarType.Bool))
        {
            faults.Add(entry.Name, entry.Dtype.ToString(), "F32, F16, BF16, F64, I64 or BOOL");
            return null;
        }
        var read = MappedFile.Read(entry.FilePath, entry.Offset, [.. entry.Shape], dtype);
        if (part is not null)
            read = part(read);
        if (entry.Dtype is not (SafetensorsDtype.I64 or SafetensorsDtype.BOOL) && !read.isfinite().all().item<bool>())
        {
            faults.Add(
                entry.Name, "NaN or infinity", "finite numbers", "the training diverged; take an earlier checkpoint");
            return null;
        }
        return read;
    }

    /// <summary>Notes tensors by name: the first few, and how many more there are.</summary>
    internal static void NoteNames(
        Faults faults, string what, IEnumerable<string> names, string allowed, string? advice = null)
    {
        var all = names.Order(StringComparer.Ordinal).ToList();
        foreach (var name in all.Take(NamesShown))
            faults.Add(name, what, allowed, advice ?? Advice(name));
        if (all.Count > NamesShown)
            faults.Add($"({all.Count - NamesShown} more)", what, allowed);
    }

    /// <summary>What a tensor that no LoRA has belongs to; null where nothing is known.</summary>
    internal static string? Advice(string name) =>
        name.Contains("lora_embedding_", StringComparison.Ordinal) ? "the embeddings are not among target_modules"
        : name.Contains("lora_magnitude_vector", StringComparison.Ordinal)
            ? "it is of DoRA, and adapter_config.json says use_dora: false"
        : name.EndsWith(".bias", StringComparison.Ordinal) ? "trained biases are not supported"
        : name.Contains(".lora_", StringComparison.Ordinal) ? null
        : "the module is not among modules_to_save";

    /// <summary>A shape in words.</summary>
    internal static string Shape(IEnumerable<long> shape) => $"[{string.Join(", ", shape)}]";
}

/// <summary>The tensors of an adapter's file, read as they are asked for; memory is taken only for those that
/// fit.</summary>
internal class SavedTensors(
    string path, IReadOnlyDictionary<string, SafetensorsEntry> entries, bool isPlainLora, string advice)
    : TensorSource
{
    private readonly Faults _faults = new();
    private readonly HashSet<string> _asked = new(StringComparer.Ordinal);
    private readonly List<(SafetensorsEntry Entry, long[] Shape)> _misshapen = [];

    /// <summary>Whether the file has a tensor of this name.</summary>
    public bool Holds(string name) => entries.ContainsKey(BundleTensors.NameInFile(name, isPlainLora));

    /// <summary>The first length of a tensor; 0 where the file has none of this name.</summary>
    private protected long LengthOf(string name) =>
        entries.TryGetValue(BundleTensors.NameInFile(name, isPlainLora), out var entry)
        && entry.Shape.Count > 0 ? entry.Shape[0] : 0;

    /// <inheritdoc/>
    /// <remarks>Shapes: as given; what the file lacks is a fault of <see cref="Finish"/> and something unusable
    /// here.</remarks>
    public override Tensor Take(string name, ScalarType dtype, long[] shape, Func<Tensor> first)
    {
        using var off = torch.no_grad();
        var inFile = BundleTensors.NameInFile(name, isPlainLora);
        _asked.Add(inFile);
        if (!entries.TryGetValue(inFile, out var entry))
            return Unusable();
        if (!entry.Shape.SequenceEqual(shape))
            _misshapen.Add((entry, shape));
        if (BundleTensors.Read(_faults, entry, shape) is not { } read)
            return Unusable();
        // Memory of its own: what is trained must not change with the file.
        return torch.empty(shape, dtype).copy_(read);
    }

    /// <inheritdoc/>
    /// <remarks>Shapes: as given.</remarks>
    public override Tensor? TakeIfHeld(string name, ScalarType dtype, long[] shape) =>
        Holds(name) ? Take(name, dtype, shape, Unusable) : null;

    /// <summary>Throws every tensor that is missing, too many, of another shape or not finite; nothing when all
    /// fit.</summary>
    public override void Finish()
    {
        RequireThisBase();
        var faults = new Faults();
        BundleTensors.NoteMismatch(
            faults, _asked, entries.Keys, _asked.Count(name => name.Contains(".lora_A.", StringComparison.Ordinal)));
        foreach (var fault in _faults.Items)
            faults.Add(fault.Place, fault.Found, fault.Expected, fault.Advice);
        faults.ThrowIfAny(path);
    }

    // Where most tensors do not fit, the base or the rank is another one: one sentence in place of all their names.
    private void RequireThisBase()
    {
        var missing = _asked.Where(name => !entries.ContainsKey(name)).Order(StringComparer.Ordinal).ToList();
        var unused = entries.Keys.Where(name => !_asked.Contains(name)).Order(StringComparer.Ordinal).ToList();
        var wrong = missing.Count + unused.Count + _misshapen.Count;
        if (wrong <= 2 || 2 * wrong <= _asked.Count || unused.Exists(name => BundleTensors.Advice(name) is not null))
            return;
        var parts = new List<string>();
        if (_misshapen.Count > 0)
        {
            var (entry, shape) = _misshapen[0];
            parts.Add(
                $"{_misshapen.Count} of another shape (such as {entry.Name}, {BundleTensors.Shape(entry.Shape)} "
                    + $"instead of "
                + $"{BundleTensors.Shape(shape)})");
        }

        if (missing.Count > 0)
            parts.Add($"{missing.Count} missing (such as {missing[0]})");
        if (unused.Count > 0)
            parts.Add($"{unused.Count} not used (such as {unused[0]})");
        throw UserException.At(
            path, $"the tensors do not fit this base or rank: {Words.AllOf(parts)}", null,
            advice);
    }

    /// <summary>In the place of a tensor that a fault was noted for.</summary>
    private protected static Tensor Unusable() => torch.zeros([1, 1]);
}

/// <summary>The tensors of PEFT's file. What an adapter took out of the base is not in it: PEFT decomposes the weights
/// again.</summary>
/// <remarks>Source: huggingface/peft 5d602fd, <c>pissa_init</c> and <c>olora_init</c>, which run when an adapter is
/// loaded too. A0 and B0 may come out with other signs there; their product does not.</remarks>
internal sealed class PeftTensors(string path, IReadOnlyDictionary<string, SafetensorsEntry> entries, string advice)
    : SavedTensors(path, entries, isPlainLora: true, advice)
{
    /// <inheritdoc/>
    public override Tensor Take(string name, ScalarType dtype, long[] shape, Func<Tensor> first) =>
        TakenOut.IsName(name) ? first() : base.Take(name, dtype, shape, first);
}

/// <summary>Weights of the base that PEFT stores beside an adapter on the head or the embeddings
/// (<c>save_embedding_layers</c>).</summary>
/// <remarks>
/// Source: huggingface/peft 5d602fd, <c>get_peft_model_state_dict</c>. Where they equal the base's own they say nothing
/// and are left out; changed ones stay among the tensors and are refused like any fully trained module.
/// </remarks>
internal static class SavedBase
{
    private const string Prefix = "base_model.model.";

    /// <summary>The entries without copies of the base's own weights.</summary>
    public static IReadOnlyDictionary<string, SafetensorsEntry> Without(
        CausalLanguageModel model, IReadOnlyList<string> saved,
        IReadOnlyDictionary<string, SafetensorsEntry> entries, Action<string> warn)
    {
        var others = entries.Values.Where(entry => !entry.Name.Contains(".lora_", StringComparison.Ordinal)).ToList();
        if (others.Count == 0)
            return entries;
        var weights = model.StateDict().ToDictionary(pair => pair.Name, pair => pair.Tensor, StringComparer.Ordinal);
        weights.TryAdd(model.HeadProjection.Path + ".weight", model.HeadWeight);
        var kept = entries.ToDictionary(StringComparer.Ordinal);
        foreach (var entry in others)
        {
            if (!entry.Name.StartsWith(Prefix, StringComparison.Ordinal))
                continue;
            var name = entry.Name[Prefix.Length..].Replace(".base_layer.", ".", StringComparison.Ordinal);
            if (saved.Any(module => SavedModule.Holds(module, name)) || !weights.TryGetValue(name, out var own)
                || !IsCopy(entry, own))
                continue;
            kept.Remove(entry.Name);
            warn($"{entry.FilePath}: {entry.Name} is the base's own weight and has no effect");
        }
        return kept;
    }

    private static bool IsCopy(SafetensorsEntry entry, Tensor own)
    {
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        return entry.Shape.SequenceEqual(own.shape)
            && BundleTensors.Read(new Faults(), entry) is { } stored
            && stored.to(own.dtype).SameAs(own.to(torch.CPU));
    }
}
