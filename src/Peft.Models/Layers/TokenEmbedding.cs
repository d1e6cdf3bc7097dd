using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>The table of token vectors.</summary>
public sealed class TokenEmbedding : Layer
{
    /// <summary>Takes <c>PATH.weight</c> from a source of weights.</summary>
    public TokenEmbedding(WeightSource weights, string path, long vocabularySize, long width)
        : base(path)
    {
        Weight = weights.Take($"{path}.weight", WeightKind.Embedding, vocabularySize, width);
        register_parameter("weight", Weight);
    }

    /// <summary>The table.</summary>
    /// <remarks>Shapes: [V, D].</remarks>
    public Parameter Weight { get; }

    /// <summary>Looks tokens up.</summary>
    /// <remarks>Shapes: ids [B, T] int64 → [B, T, D]. Gradient: none while the table is frozen, so backward ends above it.</remarks>
    public Tensor Forward(Tensor ids) => Weight.index_select(0, ids.reshape(-1)).reshape([.. ids.shape, Weight.shape[1]]);
}
