using Peft.Formats.Configuration;
using Peft.Formats.Files;

namespace Peft.Formats.Safetensors;

/// <summary>
/// The weights in a directory: one file, or the shards that an index names. Only headers are read. The single file
/// comes
/// first where both are there, as in transformers.
/// </summary>
public sealed class SafetensorsCheckpoint
{
    private static readonly string[] PickleEndings = [".bin", ".pt", ".pth", ".pkl", ".ckpt"];

    private SafetensorsCheckpoint(IReadOnlyDictionary<string, SafetensorsEntry> entries, IReadOnlyList<string> files)
    {
        Entries = entries;
        Files = files;
    }

    /// <summary>The tensors of all files by name.</summary>
    public IReadOnlyDictionary<string, SafetensorsEntry> Entries { get; }

    /// <summary>The files that hold them, in the order of their names.</summary>
    public IReadOnlyList<string> Files { get; }

    /// <summary>Opens the checkpoint in a directory.</summary>
    /// <param name="directory">A model or adapter directory.</param>
    /// <param name="singleName">The file's name; the index is called the same with <c>.index.json</c> behind
    /// it.</param>
    /// <exception cref="UserException">
    /// There are no weights or only pickled ones, a shard or tensor is missing, a file is damaged, or the index
    /// points out
    /// of the directory.
    /// </exception>
    public static SafetensorsCheckpoint Open(string directory, string singleName = "model.safetensors")
    {
        if (!Directory.Exists(directory))
        {
            var found = File.Exists(directory) ? "is a file, not a directory" : "no such directory";
            throw UserException.At(directory, found, $"a directory that holds {singleName}", "check the path");
        }

        var single = Path.Combine(directory, singleName);
        if (File.Exists(single))
            return new SafetensorsCheckpoint(SafetensorsFile.Open(single).Entries, [single]);
        var index = single + ".index.json";
        if (File.Exists(index))
            return OpenShards(directory, index);
        throw WithoutWeights(directory, singleName);
    }

    /// <summary>The same tensors under other names.</summary>
    internal SafetensorsCheckpoint Renamed(Func<string, string> rename) => new(
        Entries.Values.Select(entry => entry with { Name = rename(entry.Name) })
            .ToDictionary(entry => entry.Name, StringComparer.Ordinal),
        Files);

    private static SafetensorsCheckpoint OpenShards(string directory, string index)
    {
        if (ConfigJson.ReadFile(index)["weight_map"] is not ConfigMap { Count: > 0 } map)
        {
            throw UserException.At(index, "no weight_map", "an object that names the file of each tensor",
                "copy or download the index again");
        }

        var entries = new Dictionary<string, SafetensorsEntry>(StringComparer.Ordinal);
        var shards = new SortedDictionary<string, SafetensorsFile>(StringComparer.Ordinal);
        foreach (var (tensor, node) in map.Entries)
        {
            var name = ShardName(index, tensor, node);
            if (!shards.TryGetValue(name, out var shard))
                shards.Add(name, shard = OpenShard(directory, index, name));
            if (!shard.Entries.TryGetValue(tensor, out var entry))
            {
                throw UserException.At($"{index}:{node.Line}",
                    $"{name} holds no tensor {Quote.Of(tensor)}", null,
                    "copy or download index and shards again, from one revision");
            }

            entries.Add(tensor, entry);
        }

        return new SafetensorsCheckpoint(entries, [.. shards.Keys.Select(name => Path.Combine(directory, name))]);
    }

    private static SafetensorsFile OpenShard(string directory, string index, string name)
    {
        var path = Path.Combine(directory, name);
        if (!File.Exists(path))
        {
            throw UserException.At(index, $"shard {Quote.Of(name)} is missing", null, "copy or download it too");
        }

        if (InnerPath.OutsideTarget(directory, name) is { } target)
        {
            throw UserException.At(
                index, $"shard {Quote.Of(name)} is a link to {Quote.Of(target)}", $"a file in {directory}",
                "if you trust it, copy that file over the link");
        }

        return SafetensorsFile.Open(path);
    }

    private static string ShardName(string index, string tensor, ConfigNode node)
    {
        var name = node is ConfigScalar { IsQuoted: true } scalar ? scalar.Text! : "";
        var isInside = name.EndsWith(".safetensors", StringComparison.Ordinal)
            && !name.Any(c => c is '\\' or ':' || char.IsControl(c))
            && name.Split('/').All(part => part is not ("" or "." or ".."));
        return isInside ? name : throw UserException.At($"{index}:{node.Line}: tensor {Quote.Of(tensor)}",
            $"its file is {node.Describe()}",
            "the name of a .safetensors file inside the directory",
            "do not use this checkpoint unless you know who made it");
    }

    private static UserException WithoutWeights(string directory, string singleName)
    {
        var pickled = FirstPickle(directory);
        if (pickled is null)
        {
            return UserException.At(
                directory, "no weights", $"{singleName}, or {singleName}.index.json with its shards", "check the path");
        }

        return UserException.At(Path.Combine(directory, pickled),
            "pickled weights, which can run code when they are loaded",
            singleName,
            "if you trust the file, convert it once in Python: load it with transformers or PEFT and call "
                + "save_pretrained(\"NEW_DIRECTORY\", safe_serialization=True)");
    }

    private static string? FirstPickle(string directory)
    {
        try
        {
            return Directory.EnumerateFiles(directory).Select(path => Path.GetFileName(path))
                .Where(name => PickleEndings.Contains(Path.GetExtension(name), StringComparer.OrdinalIgnoreCase))
                .Order(StringComparer.Ordinal).FirstOrDefault();
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Reading(directory, error);
        }
    }
}
