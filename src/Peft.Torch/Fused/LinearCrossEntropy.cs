namespace Peft.Torch;

public static partial class Fused
{
    /// <summary>Cross-entropy of hidden Wt against targets, in blocks: the logits [M, V] never exist whole.</summary>
    /// <remarks>Shapes: hidden [M, D], weight [V, D], targets [M] int64 gives the loss of each row [M], float32 (float64 for
    /// float64). Gradient: to hidden, and to weight where it requires one (then backward computes the logits again).
    /// Errors: <see cref="ArgumentException"/> when a target is not in 0..V-1: leave out rows that are not learned.</remarks>
    /// <param name="hidden">Final hidden states of the learned positions.</param>
    /// <param name="weight">The head's weight.</param>
    /// <param name="targets">The right token of each row.</param>
    /// <param name="chunk_rows">Rows computed at once; 0 chooses.</param>
    /// <param name="softcap">Logits become softcap * tanh(logits / softcap); 0 = none.</param>
    public static Tensor linear_cross_entropy(
        Tensor hidden, Tensor weight, Tensor targets, int chunk_rows = 0, double softcap = 0)
    {
        CheckLoss(hidden, weight, targets, chunk_rows, softcap);
        return Composed.linear_cross_entropy(hidden, weight, targets, softcap);
    }

    private static void CheckLoss(Tensor hidden, Tensor weight, Tensor targets, int chunkRows, double softcap)
    {
        if (hidden.dim() != 2 || weight.dim() != 2 || hidden.size(1) != weight.size(1))
        {
            throw new ArgumentException($"hidden {Shapes.Of(hidden)} does not meet weight {Shapes.Of(weight)}; "
                + "hidden is [M, D] and weight [V, D]");
        }
        if (hidden.dtype != weight.dtype)
            throw new ArgumentException($"hidden {hidden.dtype} and weight {weight.dtype} differ in type");
        if (targets.dim() != 1 || targets.size(0) != hidden.size(0) || targets.dtype != ScalarType.Int64)
        {
            throw new ArgumentException($"targets {Shapes.Of(targets)} {targets.dtype} do not meet hidden {Shapes.Of(hidden)}; "
                + "targets are [M] of int64");
        }
        if (chunkRows < 0 || softcap < 0)
            throw new ArgumentException($"chunk_rows {chunkRows} and softcap {softcap} must not be negative");
        if (targets.numel() == 0)
            return;
        // One pass over M numbers; a target outside would read outside the logits.
        using var scope = torch.NewDisposeScope();
        var (least, most) = (targets.min().item<long>(), targets.max().item<long>());
        if (least < 0 || most >= weight.size(0))
        {
            throw new ArgumentException($"targets hold {(least < 0 ? least : most)}; allowed are 0 to {weight.size(0) - 1}; "
                + "leave out positions that are not learned before calling");
        }
    }
}
