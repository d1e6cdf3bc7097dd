using Peft.Formats;
using Peft.Formats.Safetensors;

namespace Peft.Models.Loading;

/// <summary>Named tensors to a safetensors file and back into tensors that exist already.</summary>
public static class TensorFile
{
    /// <summary>Writes the tensors, exactly as they are, streamed one by one.</summary>
    public static void Write(string path, IEnumerable<(string Name, Tensor Tensor)> tensors)
    {
        var entries = tensors.Select(pair => new SafetensorsWrite(
            pair.Name, DtypeNames.ToSafetensors(pair.Tensor.dtype), pair.Tensor.shape, pair.Tensor.WriteBytes));
        SafetensorsWriter.WriteFile(path, [.. entries]);
    }

    /// <summary>Copies a file's tensors into the ones given: the same names, shapes and types on both sides.</summary>
    /// <exception cref="UserException">Anything differs; all differences are named.</exception>
    public static void ReadInto(string path, IReadOnlyList<(string Name, Tensor Tensor)> targets)
    {
        var entries = SafetensorsFile.Open(path).Entries;
        var faults = new Faults();
        var known = targets.Select(t => t.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var name in entries.Keys.Where(name => !known.Contains(name)))
            faults.Add(name, "a tensor in the file", "only tensors of this run");
        foreach (var (name, target) in targets)
        {
            if (!entries.TryGetValue(name, out var entry))
                faults.Add(name, "missing", "it in the file");
            else if (!entry.Shape.SequenceEqual(target.shape) || entry.Dtype != DtypeNames.ToSafetensors(target.dtype))
                faults.Add(name, $"{entry.Dtype} [{string.Join(", ", entry.Shape)}]",
                    $"{DtypeNames.ToSafetensors(target.dtype)} [{string.Join(", ", target.shape)}]");
        }
        faults.ThrowIfAny(path);
        using var frozen = torch.no_grad();
        using var file = MappedFile.Open(path);
        foreach (var (name, target) in targets)
        {
            using var read = file.Tensor(entries[name].Offset, target.shape, target.dtype);
            target.copy_(read);
        }
    }

    /// <summary>A file's tensors, read into memory of their own; the caller frees them.</summary>
    /// <exception cref="UserException">The file is damaged, or holds a type that checkpoints do not.</exception>
    public static IReadOnlyDictionary<string, Tensor> Read(string path)
    {
        var entries = SafetensorsFile.Open(path).Entries;
        using var file = MappedFile.Open(path);
        var tensors = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        foreach (var entry in entries.Values)
        {
            var dtype = DtypeNames.ToTorch(entry.Dtype)
                ?? throw UserException.At(
                    path, $"{entry.Name} is stored as {entry.Dtype}", "a type of number that PyTorch has");
            using var mapped = file.Tensor(entry.Offset, [.. entry.Shape], dtype);
            tensors.Add(entry.Name, mapped.clone());
        }

        return tensors;
    }
}
