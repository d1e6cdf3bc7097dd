using Peft.Formats;
using Peft.Formats.Safetensors;

namespace Peft.Models.Loading;

/// <summary>Weights of a checkpoint on disk: mapped without a copy where type and place fit, otherwise cast tensor by
/// tensor.</summary>
public sealed class CheckpointWeights : WeightSource
{
    private readonly SafetensorsCheckpoint _checkpoint;
    private readonly string _directory;
    private readonly IReadOnlyList<string> _ignoredSuffixes;
    private readonly string _prefix;
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);
    private readonly Dictionary<string, MappedFile> _files = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _meanings = new(StringComparer.Ordinal);
    private readonly Faults _faults = new();

    /// <summary>Makes the source.</summary>
    /// <param name="checkpoint">The opened checkpoint.</param>
    /// <param name="directory">Its folder, for messages.</param>
    /// <param name="dtype">Type of every parameter.</param>
    /// <param name="device">Where every parameter lies.</param>
    /// <param name="ignoredSuffixes">Ends of names that may be left over.</param>
    /// <param name="prefix">What names begin with; a checkpoint of the model without its head leaves it out.</param>
    public CheckpointWeights(
        SafetensorsCheckpoint checkpoint, string directory, ScalarType dtype, Device device,
        IReadOnlyList<string> ignoredSuffixes, string prefix)
        : base(dtype, device)
    {
        _checkpoint = checkpoint;
        _directory = directory;
        _ignoredSuffixes = ignoredSuffixes;
        _prefix = checkpoint.Entries.Keys.Any(key => key.StartsWith(prefix, StringComparison.Ordinal)) ? "" : prefix;
    }

    /// <summary>A tensor's name in a checkpoint that may have been saved without the prefix.</summary>
    public static string StoredName(SafetensorsCheckpoint checkpoint, string name, string prefix) =>
        !checkpoint.Entries.ContainsKey(name) && name.StartsWith(prefix, StringComparison.Ordinal)
        && checkpoint.Entries.ContainsKey(name[prefix.Length..])
            ? name[prefix.Length..] : name;

    /// <summary>Throws every missing, misshapen or left-over tensor at once.</summary>
    /// <exception cref="FaultsException">The checkpoint does not fit its config.json.</exception>
    public override void Finish()
    {
        foreach (var file in _files.Values)
            file.Dispose();
        foreach (var entry in _checkpoint.Entries.Values.OrderBy(entry => entry.Name, StringComparer.Ordinal))
        {
            if (!_used.Contains(entry.Name)
                && !_ignoredSuffixes.Any(suffix => entry.Name.EndsWith(suffix, StringComparison.Ordinal)))
                _faults.Add(
                    Place(entry), $"a tensor {Shape(entry.Shape)} that the model has no place for",
                    "none of this name");
        }

        _faults.ThrowIfAny($"{_directory}: the checkpoint, whose tensors must fit config.json,");
    }

    /// <summary>Lets a tensor be left over, such as the head of a tied model that was saved all the same.</summary>
    public void Ignore(string name) => _used.Add(name);

    /// <inheritdoc/>
    public override void Explain(string name, string meaning) => _meanings[name] = meaning;

    /// <inheritdoc/>
    public override void Expect(string name, string from, params IReadOnlyList<float>[] accepted)
    {
        if (!_checkpoint.Entries.TryGetValue(StoredName(_checkpoint, name, _prefix), out var entry))
            return;
        _used.Add(entry.Name);
        using var scope = torch.NewDisposeScope();
        var stored = DtypeNames.OfModel(entry.Dtype) is { } type
            ? MappedFile.Read(entry.FilePath, entry.Offset, [.. entry.Shape], type).to(ScalarType.Float32)
                .Values<float>()
            : [];
        if (!accepted.Any(
            values => values.Count == stored.Length && values.Zip(stored).All(pair => IsNear(pair.First, pair.Second))))
            _faults.Add(
                Place(entry), $"other values than {from} gives", "the same, or no such tensor", $"correct {from}");
    }

    // As exactly as half precision keeps a number.
    private static bool IsNear(float value, float stored) =>
        Math.Abs(value - stored) <= 1e-6f + (0.01f * Math.Abs(value));

    /// <inheritdoc/>
    /// <remarks>Shapes: as given.</remarks>
    protected override Tensor Read(string name, WeightKind kind, long[] shape)
    {
        if (!_checkpoint.Entries.TryGetValue(StoredName(_checkpoint, name, _prefix), out var entry))
        {
            var near = NearestName.Of(name, _checkpoint.Entries.Keys.Where(key => !_used.Contains(key)));
            _faults.Add(
                $"{string.Join(", ", _checkpoint.Files.Select(Path.GetFileName))}: {name}", "missing", Shape(shape),
                _meanings.GetValueOrDefault(name) ?? (near is null ? null : $"the nearest name in the file is {near}"));
            return Empty();
        }

        _used.Add(entry.Name);
        if (!entry.Shape.SequenceEqual(shape))
        {
            _faults.Add(Place(entry), Shape(entry.Shape), Shape(shape), _meanings.GetValueOrDefault(name));
            return Empty();
        }

        if (DtypeNames.OfModel(entry.Dtype) is not { } stored)
        {
            _faults.Add(
                Place(entry), $"type {entry.Dtype}", "F32, BF16, F16 or F64", "use a checkpoint that is not quantized");
            return Empty();
        }

        if (!_files.TryGetValue(entry.FilePath, out var file))
            _files.Add(entry.FilePath, file = MappedFile.Open(entry.FilePath));
        // The mapping itself where nothing changes; an operation that changes nothing takes as long as the mapping.
        var tensor = file.Tensor(entry.Offset, shape, stored);
        return stored == Dtype && Device.type == DeviceType.CPU ? tensor : tensor.to(Dtype).to(Device);
    }

    private static string Place(SafetensorsEntry entry) => $"{Path.GetFileName(entry.FilePath)}: {entry.Name}";

    private static string Shape(IEnumerable<long> shape) => $"[{string.Join(", ", shape)}]";

    // Stands in for a faulty tensor until Finish throws; layers read widths from shapes of two.
    private Tensor Empty() => torch.zeros([1, 1], dtype: Dtype);
}
