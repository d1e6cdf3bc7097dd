namespace Peft.Torch;

public static partial class Fused
{
    /// <summary>softmax(scale * q kt + additiveMask) v, where a query sees no key after its own position.</summary>
    /// <remarks>Shapes: q [B, H, T, d], k and v [B, Hkv, S, d] with H a multiple of Hkv, mask broadcast to [B, H, T, S] gives
    /// [B, H, T, d] (laid out so that transpose(1, 2) is dense). The softmax is float32 (float64 for float64); a query that
    /// sees no key gives zeros. Gradient: to q, k and v, not to the mask; first derivatives only on the CPU.
    /// Errors: <see cref="ArgumentException"/> when shapes or types do not meet.</remarks>
    /// <param name="q">Queries.</param>
    /// <param name="k">Keys.</param>
    /// <param name="v">Values.</param>
    /// <param name="additiveMask">Added to the scaled scores; -inf hides a key.</param>
    /// <param name="scale">Factor of the scores.</param>
    /// <param name="causal">False: every query sees every key.</param>
    /// <param name="queryOffset">Key position of the first query; null means S - T: the queries are the last positions.</param>
    /// <param name="window">Number of keys a query sees, counted back from itself; null means all.</param>
    /// <param name="softcap">Scores become softcap * tanh(scores / softcap) before the mask; null means none.</param>
    /// <param name="segments">Sequences that share rows, as pairs (first token, end) of the flattened B T tokens, in order;
    /// a query sees keys of its own sequence alone, and a token outside all of them gives zeros. Nothing is computed
    /// between two of them. Empty: each row is one sequence.</param>
    public static Tensor causal_attention(Tensor q, Tensor k, Tensor v, Tensor? additiveMask, double scale,
        bool causal = true, long? queryOffset = null, long? window = null, double? softcap = null,
        ReadOnlySpan<long> segments = default)
    {
        var options = new AttentionOptions(scale, causal,
            queryOffset ?? (causal || window is not null ? k.size(-2) - q.size(-2) : 0), window ?? 0, softcap ?? 0, segments.ToArray());
        AttentionChecks.Check(q, k, v, additiveMask, options);
        return Composed.causal_attention(q, k, v, additiveMask, options);
    }
}

/// <summary>What an attention computes beside its tensors; a window or softcap of 0 means none.</summary>
internal sealed record AttentionOptions(double Scale, bool Causal, long Offset, long Window, double Softcap, long[] Segments);
