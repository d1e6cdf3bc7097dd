using Peft.Models;

namespace Peft.Training;

/// <summary>Cross-entropy of the learned tokens.</summary>
public static class TokenLoss
{
    /// <summary>The losses of each row, summed.</summary>
    /// <remarks>Shapes: losses [M] to [B] float32. Gradient: none.</remarks>
    public static Tensor PerRow(Tensor losses, BatchTensors batch)
    {
        using var off = torch.no_grad();
        var (rows, length) = (batch.Ids.shape[0], batch.Ids.shape[1]);
        var row = batch.LearnedIndex.to(ScalarType.Float64).div(length).floor().to(ScalarType.Int64);             // [M]
        return torch.zeros([rows], ScalarType.Float32, losses.device).scatter_add(0, row, losses.detach().to(ScalarType.Float32));
    }

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
            return Fused.linear_cross_entropy(rows, model.HeadWeight, batch.LearnedTargets);
        // A head that an adapter wraps is more than one matrix.
        var logits = model.Head(rows, pass).to(ScalarType.Float32);                                 // [M, V]
        return torch.nn.functional.cross_entropy(logits, batch.LearnedTargets, reduction: torch.nn.Reduction.None);
    }
}
