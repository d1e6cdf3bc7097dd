using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>What every model knows about itself, whatever its family; read once from config.json.</summary>
public abstract record ModelConfig
{
    /// <summary>The config.json this came from.</summary>
    public required ModelConfigFile File { get; init; }

    /// <summary>Hugging Face's <c>model_type</c>.</summary>
    public required string ModelType { get; init; }

    /// <summary>Rows of the embedding table.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Number of blocks.</summary>
    public required int LayerCount { get; init; }

    /// <summary>Number of query heads.</summary>
    public required int HeadCount { get; init; }

    /// <summary>Number of key and value heads.</summary>
    public required int KeyValueHeadCount { get; init; }

    /// <summary>Width of one head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Width inside the feed-forward.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>The longest sequence the model was made for, in tokens.</summary>
    public required int MaxPositionEmbeddings { get; init; }

    /// <summary>True when the head is the embedding table.</summary>
    public required bool TieWordEmbeddings { get; init; }

    /// <summary>Standard deviation of freshly drawn weights.</summary>
    public required double InitializerRange { get; init; }

    /// <summary>Tokens that end a text; generation_config.json's where there is one.</summary>
    public required IReadOnlyList<int> EosTokenIds { get; init; }

    /// <summary>The token that begins a text, or null.</summary>
    public int? BosTokenId { get; init; }

    /// <summary>The token that fills rows, or null.</summary>
    public int? PadTokenId { get; init; }

    /// <summary>What the feed-forwards of all layers are wide inside, for one token: of experts those that it goes
    /// through.</summary>
    public virtual long InnerWidths => (long)LayerCount * IntermediateSize;

    /// <summary>Numbers of a token that training keeps of one block beyond those of Llama's: of the model's type, and
    /// float32.</summary>
    public virtual (long Own, long Wide) KeptBeyondLlama => default;

    /// <summary>The projections that PEFT adapts in this family where nobody names any.</summary>
    public virtual IReadOnlyList<string> DefaultTargets => ["q_proj", "v_proj"];

    /// <summary>Factor of the logits.</summary>
    public double LogitScale { get; init; } = 1;

    /// <summary>Logits become <c>cap tanh(logits / cap)</c>; null: they stay.</summary>
    public double? LogitSoftCap { get; init; }

    /// <summary>Whether logits are more than the head's product.</summary>
    public bool ScalesLogits => LogitScale != 1 || LogitSoftCap is not null;

    /// <summary>The table of token vectors, as files name it.</summary>
    public virtual string EmbeddingName => "model.embed_tokens.weight";

    /// <summary>The weight of the head, as files name it.</summary>
    public virtual string HeadName => "lm_head.weight";

    /// <summary>Everything that changes the function the weights compute, as one line: equal for v4 and v5 spellings of
    /// one model.</summary>
    public abstract string Essentials { get; }

    /// <summary>Refuses token ids that the embedding table does not have.</summary>
    /// <exception cref="UserException">An id is negative or not below <see cref="VocabularySize"/>.</exception>
    public void CheckIds(IEnumerable<int> ids)
    {
        var position = 0;
        foreach (var id in ids)
        {
            if (id < 0 || id >= VocabularySize)
            {
                throw UserException.At(
                    "token ids", $"{id} at position {position}",
                    $"ids from 0 to {VocabularySize - 1}, which this {ModelType} model has",
                    "use the tokenizer that belongs to the base model");
            }

            position++;
        }
    }
}

/// <summary>One supported <c>model_type</c>: how its config is read and how the model is built from weights.</summary>
/// <param name="ModelType">Hugging Face's <c>model_type</c>.</param>
/// <param name="ReadConfig">Reads config.json; collects every fault before it throws.</param>
/// <param name="Build">Builds the model, taking each tensor by name from the source.</param>
/// <param name="IgnoredSuffixes">Ends of the names of tensors that checkpoints may carry and the model computes
/// itself.</param>
/// <param name="Prefix">What names begin with, the head's aside; files that were saved without it are read too.</param>
public sealed record ModelFamily(
    string ModelType,
    Func<ModelConfigFile, ModelConfig> ReadConfig,
    Func<ModelConfig, WeightSource, CausalLanguageModel> Build,
    IReadOnlyList<string> IgnoredSuffixes,
    string Prefix = "model.");
