namespace Peft.Models.Loading;

/// <summary>What a tensor is for; decides how it is drawn when a model starts from nothing.</summary>
public enum WeightKind
{
    /// <summary>A table of token vectors: normal.</summary>
    Embedding,

    /// <summary>The matrix of a linear layer: normal.</summary>
    Matrix,

    /// <summary>An offset: zero.</summary>
    Bias,

    /// <summary>The scale of a norm: one.</summary>
    Scale,
}
