using Peft.Formats;
using Peft.Formats.HuggingFace;

namespace Peft.Models;

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

    /// <summary>Everything that changes the function the weights compute, as one line: equal for v4 and v5 spellings of one model.</summary>
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
                throw new UserException(
                    $"token ids: position {position} is {id}; this {ModelType} model has ids 0 to {VocabularySize - 1}; " +
                    "use the tokenizer that belongs to the base model");
            }

            position++;
        }
    }
}
