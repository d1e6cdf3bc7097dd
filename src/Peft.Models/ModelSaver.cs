using System.Globalization;
using Peft.Formats.Configuration;
using Peft.Formats.Files;
using Peft.Formats.Safetensors;
using Peft.Models.Layers;
using Peft.Models.Loading;

namespace Peft.Models;

/// <summary>Writes a model as a full checkpoint in Hugging Face layout.</summary>
public static class ModelSaver
{
    private const string Tied = "tie_word_embeddings";
    private static readonly Dictionary<string, string> Metadata = new() { ["format"] = "pt" };

    /// <summary>The tensors, where one file holds them.</summary>
    public const string SingleFile = "model.safetensors";

    /// <summary>Names the file of each tensor, where several hold them.</summary>
    public const string IndexFile = SingleFile + ".index.json";

    /// <summary>Writes config.json and model.safetensors, one tensor in memory at a time.</summary>
    /// <param name="directory">The folder; made when absent.</param>
    /// <param name="model">The model.</param>
    /// <param name="config">config.json's content; its type of numbers is replaced by <paramref name="dtype"/>.</param>
    /// <param name="dtype">Type to store every tensor in.</param>
    /// <param name="transform">
    /// Gets a tensor's name and value, returns what to store (the same shape), for example with an adapter merged in;
    /// null: as it is.
    /// </param>
    /// <param name="ownHead">The head's name and its weight before <paramref name="transform"/>, where a tied model
    /// becomes one with a head of its own.</param>
    /// <param name="maxShardSize">Most bytes of tensors in one file; more go into shards with an index, as transformers
    /// names them.</param>
    public static void Save(
        string directory, CausalLanguageModel model, ConfigMap config, ScalarType dtype,
        Func<string, Tensor, Tensor>? transform = null,
        long maxShardSize = long.MaxValue, (string Name, Tensor Weight)? ownHead = null)
    {
        Directory.CreateDirectory(directory);
        var entries = model.StateDict();
        if (ownHead is { } head)
            entries = entries.Append(head);
        var writes = entries.Select(entry => new SafetensorsWrite(
            entry.Name, DtypeNames.ToSafetensors(dtype), entry.Tensor.shape,
            stream => Write(stream, entry.Name, entry.Tensor, dtype, transform))).ToList();
        var shards = Shards(writes, maxShardSize);
        for (var i = 0; i < shards.Count; i++)
            SafetensorsWriter.WriteFile(Path.Combine(directory, NameOf(i, shards.Count)), shards[i], Metadata);
        if (shards.Count > 1)
            AtomicFile.WriteText(Path.Combine(directory, IndexFile), ConfigText.ToJson(Index(shards)));
        var key = config["dtype"] is not null && config["torch_dtype"] is null ? "dtype" : "torch_dtype";
        var written = config.With(key, ConfigScalar.Of(dtype.Name()));
        // A head of its own beside the flag would be lost to whoever believes the flag.
        if (ownHead is not null || (!model.Config.TieWordEmbeddings && config[Tied] is not null))
            written = written.With(Tied, ConfigScalar.Of(false));
        AtomicFile.WriteText(Path.Combine(directory, "config.json"), ConfigText.ToJson(written));
    }

    // In building order; a tensor larger than a shard gets one of its own.
    private static List<List<SafetensorsWrite>> Shards(List<SafetensorsWrite> writes, long most)
    {
        var shards = new List<List<SafetensorsWrite>>();
        var size = 0L;
        foreach (var write in writes)
        {
            var bytes = ByteCount(write);
            if (shards.Count == 0 || bytes > most - size)
            {
                shards.Add([]);
                size = 0;
            }
            shards[^1].Add(write);
            size += bytes;
        }
        return shards;
    }

    private static string NameOf(int shard, int count) => count == 1
        ? SingleFile
        : string.Create(CultureInfo.InvariantCulture, $"model-{shard + 1:D5}-of-{count:D5}.safetensors");

    private static ConfigMap Index(List<List<SafetensorsWrite>> shards)
    {
        var total = shards.Sum(shard => shard.Sum(ByteCount));
        var files = shards.SelectMany((shard, i) => shard.Select(write =>
            KeyValuePair.Create<string, ConfigNode>(write.Name, ConfigScalar.Of(NameOf(i, shards.Count)))));
        return new ConfigMap("", 0,
        [
            KeyValuePair.Create<string, ConfigNode>(
                "metadata", new ConfigMap(
                    "", 0, [KeyValuePair.Create<string, ConfigNode>("total_size", ConfigScalar.Of(total))])),
            KeyValuePair.Create<string, ConfigNode>(
                "weight_map", new ConfigMap("", 0, files.OrderBy(file => file.Key, StringComparer.Ordinal))),
        ]);
    }

    private static long ByteCount(SafetensorsWrite write) =>
        write.Shape.Aggregate((long)write.Dtype.ByteSize(), (size, length) => size * length);

    private static void Write(
        Stream stream, string name, Tensor tensor, ScalarType dtype, Func<string, Tensor, Tensor>? transform)
    {
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var value = transform?.Invoke(name, tensor) ?? tensor;
        if (!value.shape.SequenceEqual(tensor.shape))
        {
            throw new InvalidOperationException(
                $"{name}: to be stored as [{string.Join(", ", value.shape)}], the model has "
                    + $"[{string.Join(", ", tensor.shape)}]");
        }

        value.detach().to(torch.CPU).to(dtype).contiguous().WriteBytes(stream);
    }
}
