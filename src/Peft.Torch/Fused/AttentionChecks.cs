namespace Peft.Torch;

/// <summary>Refuses attention over tensors that do not meet, before a native call would end the program.</summary>
internal static class AttentionChecks
{
    public static void Check(Tensor q, Tensor k, Tensor v, Tensor? mask, AttentionOptions options)
    {
        CheckShapes(q, k, v);
        if (q.dtype != k.dtype || k.dtype != v.dtype)
            throw new ArgumentException($"q {q.dtype}, k {k.dtype} and v {v.dtype} differ in type");
        if (options.Window < 0 || options.Offset < 0 || options.Softcap < 0)
        {
            throw new ArgumentException(
                $"window {options.Window}, offset {options.Offset} and softcap {options.Softcap} must not be negative");
        }
        if (mask is not null)
            CheckMask(q, k, mask);
        CheckSegments(q, k, options);
    }

    private static void CheckShapes(Tensor q, Tensor k, Tensor v)
    {
        if (q.dim() == 4 && k.dim() == 4 && v.dim() == 4 && q.size(0) == k.size(0) && k.size(0) == v.size(0)
            && q.size(3) == k.size(3) && k.size(1) == v.size(1) && k.size(2) == v.size(2) && k.size(1) > 0
            && q.size(1) % k.size(1) == 0)
        {
            return;
        }
        throw new ArgumentException($"q {Shapes.Of(q)}, k {Shapes.Of(k)} and v {Shapes.Of(v)} do not meet; "
            + "q is [B, H, T, d], k and v are [B, Hkv, S, d] with H a multiple of Hkv");
    }

    private static void CheckMask(Tensor q, Tensor k, Tensor mask)
    {
        if (mask.requires_grad)
            throw new ArgumentException("the additive mask requires a gradient, which is not computed; detach it");
        long[] whole = [q.size(0), q.size(1), q.size(2), k.size(2)];
        var shape = mask.shape;
        var fits = shape.Length <= 4;
        for (var i = 1; fits && i <= shape.Length; i++)
            fits = shape[^i] == 1 || shape[^i] == whole[^i];
        if (!fits)
        {
            throw new ArgumentException(
                $"the additive mask {Shapes.Of(mask)} does not broadcast to the scores [{string.Join(", ", whole)}]");
        }
    }

    private static void CheckSegments(Tensor q, Tensor k, AttentionOptions options)
    {
        var segments = options.Segments;
        var (batch, queries, keys) = (q.size(0), q.size(2), k.size(2));
        if (segments.Length == 0)
            return;
        if (queries != keys || options.Offset != 0)
        {
            throw new ArgumentException(
                $"segments need one key for each query, found {queries} queries from key {options.Offset} and {keys} keys");
        }
        if (segments.Length % 2 != 0)
            throw new ArgumentException($"segments are pairs of first token and end; found {segments.Length} numbers");
        var before = 0L;
        for (var i = 0; i < segments.Length; i += 2)
        {
            var (first, end) = (segments[i], segments[i + 1]);
            if (before > first || first >= end || end > batch * queries || first / queries != (end - 1) / queries)
            {
                throw new ArgumentException($"segment [{first}, {end}) is not within one row of {batch} rows of {queries} tokens, "
                    + $"or comes before the end of the last one ({before})");
            }
            before = end;
        }
    }
}

/// <summary>Shapes as messages show them.</summary>
internal static class Shapes
{
    public static string Of(Tensor tensor) => $"[{string.Join(", ", tensor.shape)}]";
}
