using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Formats.Safetensors;
using Peft.Models.Layers;
using Peft.Models.Loading;

namespace Peft.Models;

/// <summary>From a folder in Hugging Face layout, or from a config alone, to a model.</summary>
public static class ModelLoader
{
    /// <summary>Loads a checkpoint: config.json and model.safetensors or its shards.</summary>
    /// <param name="directory">The checkpoint's folder.</param>
    /// <param name="dtype">Type of the weights; null: the type most of the file's bytes have.</param>
    /// <param name="device">Where the weights shall lie; null: CPU.</param>
    /// <exception cref="UserException">
    /// The model_type is not supported, config.json has faults, or tensors are missing, misshapen or left over.
    /// </exception>
    public static CausalLanguageModel Load(string directory, ScalarType? dtype = null, Device? device = null)
    {
        var (family, config) = ReadConfig(directory);
        var checkpoint = SafetensorsCheckpoint.Open(directory);
        config = WithOwnHead(config, family, checkpoint);
        var place = device ?? torch.CPU;
        var type = dtype ?? StoredType(directory, checkpoint);
        var weights = new CheckpointWeights(checkpoint, directory, type, place, family.IgnoredSuffixes, family.Prefix);
        if (config.TieWordEmbeddings)
            weights.Ignore(config.HeadName);
        return Build(family, config, weights);
    }

    /// <summary>Builds a model with freshly drawn weights, for training from nothing.</summary>
    /// <param name="config">The architecture.</param>
    /// <param name="dtype">Type of the weights.</param>
    /// <param name="seed">Seed; each tensor's stream also depends on its name.</param>
    /// <param name="device">Where the weights shall lie; null: CPU.</param>
    public static CausalLanguageModel Create(ModelConfigFile config, ScalarType dtype, long seed, Device? device = null)
    {
        var family = ModelCatalog.Find(config);
        var read = family.ReadConfig(config);
        return Build(family, read, new RandomWeights(dtype, device ?? torch.CPU, read.InitializerRange, seed));
    }

    /// <summary>Reads and checks config.json, and the end-of-text ids of generation_config.json, without touching the
    /// weights.</summary>
    public static (ModelFamily Family, ModelConfig Config) ReadConfig(string directory)
    {
        var file = ModelConfigFile.Read(directory);
        var family = ModelCatalog.Find(file);
        var config = family.ReadConfig(file);
        var generation = GenerationConfig.Read(directory);
        // Either file may name an end that the other lacks, as chat models do; a text ends at any of them.
        return generation is { EosTokenIds.Count: > 0 }
            ? (family, config with { EosTokenIds = [.. generation.EosTokenIds.Union(config.EosTokenIds)] })
            : (family, config);
    }

    /// <summary>The type most of a checkpoint's bytes have.</summary>
    /// <exception cref="UserException">There is no checkpoint, its config.json has faults, or it is stored in a type
    /// that cannot be read.</exception>
    public static ScalarType StoredType(string directory)
    {
        // Whose model cannot be built here need not look for its weights.
        _ = ReadConfig(directory);
        return StoredType(directory, SafetensorsCheckpoint.Open(directory));
    }

    /// <summary>SHA-256 over what the checkpoint computes: config essentials, tensor names, types, shapes and bytes;
    /// not its sharding.</summary>
    public static string Fingerprint(string directory)
    {
        var (family, read) = ReadConfig(directory);
        var checkpoint = SafetensorsCheckpoint.Open(directory);
        var config = WithOwnHead(read, family, checkpoint);
        return CheckpointFingerprint.Of(config.Essentials, checkpoint, name =>
            (config.TieWordEmbeddings && name == config.HeadName)
            || family.IgnoredSuffixes.Any(suffix => name.EndsWith(suffix, StringComparison.Ordinal)));
    }

    // A stored head that says something else than the embeddings is the model's, whatever the flag says, as in
    // transformers 5 and vLLM; an equal copy is not loaded twice.
    private static ModelConfig WithOwnHead(
        ModelConfig config, ModelFamily family, SafetensorsCheckpoint checkpoint) =>
        config.TieWordEmbeddings
        && checkpoint.Entries.TryGetValue(config.HeadName, out var head)
        && checkpoint.Entries.TryGetValue(
            CheckpointWeights.StoredName(checkpoint, config.EmbeddingName, family.Prefix), out var table)
        && !CheckpointFingerprint.SaysTheSame(head, table)
            ? config with { TieWordEmbeddings = false }
            : config;

    private static CausalLanguageModel Build(ModelFamily family, ModelConfig config, WeightSource weights)
    {
        try
        {
            var model = family.Build(config, weights);
            weights.Finish();
            return model;
        }
        catch
        {
            weights.Discard();
            throw;
        }
    }

    private static ScalarType StoredType(string directory, SafetensorsCheckpoint checkpoint)
    {
        var most = checkpoint.Entries.Values
            .GroupBy(entry => entry.Dtype)
            .OrderByDescending(group => group.Sum(entry => entry.ByteCount))
            .Select(group => group.Key)
            .FirstOrDefault(SafetensorsDtype.F32);
        return DtypeNames.OfModel(most) ?? throw UserException.At(
            directory, $"most weights are stored as {most}", "F32, BF16, F16 or F64",
            "use a checkpoint that is not quantized");
    }
}
