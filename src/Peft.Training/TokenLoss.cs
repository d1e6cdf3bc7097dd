using Peft.Models;
using Peft.Torch;

namespace Peft.Training;

/// <summary>Cross-entropy of the learned tokens.</summary>
public static class TokenLoss
{
    /// <summary>Loss of each learned token.</summary>
    /// <remarks>
    /// Source: next-token cross-entropy, in nats.
    /// Shapes: hidden [B, T, D] (after the final norm) to [M] float32, M learned positions.
    /// Gradient: reaches hidden, and the head's weight when it is trained. The table [M, V] of logits never exists whole.
    /// </remarks>
    public static Tensor PerToken(CausalLanguageModel model, Tensor hidden, BatchTensors batch, ForwardPass pass)
    {
        var rows = hidden.reshape([-1, hidden.shape[^1]]).index_select(0, batch.LearnedIndex);      // [M, D]
        if (model.HasPlainHead)
            return torch.nn.functional.linear_cross_entropy(rows, model.HeadWeight, batch.LearnedTargets);
        // A head that an adapter wraps is more than one matrix.
        var logits = model.Head(rows, pass).to(ScalarType.Float32);                                 // [M, V]
        return torch.nn.functional.cross_entropy(logits, batch.LearnedTargets, reduction: torch.nn.Reduction.None);
    }
}
