namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>softmax(scale * q kt + additiveMask) v, where a query sees no key after its own position.</summary>
    /// <remarks>Shapes: q [B, H, T, d], k and v [B, Hkv, S, d] with H a multiple of Hkv, mask broadcast to [B, H, T, S]
    /// gives [B, H, T, d] (laid out so that transpose(1, 2) is dense). The softmax is float32 (float64 for float64); a
    /// query that sees no key gives zeros. Gradient: to q, k and v, not to the mask; first derivatives only on the CPU.
    /// Errors: <see cref="ArgumentException"/> when shapes or types do not meet.</remarks>
    /// <param name="q">Queries.</param>
    /// <param name="k">Keys.</param>
    /// <param name="v">Values.</param>
    /// <param name="additiveMask">Added to the scaled scores; -inf hides a key.</param>
    /// <param name="scale">Factor of the scores.</param>
    /// <param name="causal">False: every query sees every key.</param>
    /// <param name="queryOffset">Key position of the first query; null means S - T: the queries are the last
    /// positions.</param>
    /// <param name="window">Number of keys a query sees, counted back from itself; null means all.</param>
    /// <param name="softcap">Scores become softcap * tanh(scores / softcap) before the mask; null means none.</param>
    /// <param name="segments">Sequences that share rows, as pairs (first token, end) of the flattened B T tokens, in
    /// order; a query sees keys of its own sequence alone, and a token outside all of them gives zeros. Nothing is
    /// computed between two of them. Empty: each row is one sequence.</param>
    public static Tensor causal_attention(Tensor q, Tensor k, Tensor v, Tensor? additiveMask, double scale,
        bool causal = true, long? queryOffset = null, long? window = null, double? softcap = null,
        ReadOnlySpan<long> segments = default)
    {
        var options = new AttentionOptions(scale, causal,
            queryOffset ?? (causal || window is not null ? k.size(-2) - q.size(-2) : 0), window ?? 0, softcap ?? 0,
            segments.ToArray());
        AttentionChecks.Check(q, k, v, additiveMask, options);
        if (AttentionFunction.Serves(q, k))
        {
            using var scope = torch.NewDisposeScope();
            return new AttentionFunction(options)
                .Apply(q, k, v, AttentionFunction.WholeMask(AttentionShape.Of(q, k, v), q.dtype, additiveMask))
                .MoveToOuterDisposeScope();
        }
        return Composed.causal_attention(q, k, v, additiveMask, options);
    }
}

/// <summary>What an attention computes beside its tensors; a window or softcap of 0 means none.</summary>
internal sealed record AttentionOptions(
    double Scale, bool Causal, long Offset, long Window, double Softcap, long[] Segments);

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
                $"segments need one key for each query, found {queries} queries from key {options.Offset} and {keys} "
                    + "keys");
        }
        if (segments.Length % 2 != 0)
            throw new ArgumentException($"segments are pairs of first token and end; found {segments.Length} numbers");
        var before = 0L;
        for (var i = 0; i < segments.Length; i += 2)
        {
            var (first, end) = (segments[i], segments[i + 1]);
            if (before > first || first >= end || end > batch * queries || first / queries != (end - 1) / queries)
            {
                throw new ArgumentException(
                    $"segment [{first}, {end}) is not within one row of {batch} rows of {queries} tokens, "
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

/// <summary>Attention on the CPU by <see cref="AttentionKernel{T, W}"/>; inputs q, k, v, mask.</summary>
internal sealed class AttentionFunction(AttentionOptions options) : AutogradFunction
{
    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (q, k, v, mask) = (inputs[0]!, inputs[1]!, inputs[2]!, inputs[3]);
        var type = ProductType(q);
        var mixed = OfQueries([q.size(0), q.size(1), q.size(2), v.size(3)], type);
        var lse = torch.empty([q.size(0), q.size(1), q.size(2)], SumType(type));
        var (rows, keys, values) = (DenseRows(q, type), DenseRows(k, type), DenseRows(v, type));
        if (type == ScalarType.BFloat16)
            new AttentionKernel<ushort, float>(rows, keys, values, mask, options).Forward(mixed, lse);
        else if (type == ScalarType.Float32)
            new AttentionKernel<float, float>(rows, keys, values, mask, options).Forward(mixed, lse);
        else
            new AttentionKernel<double, double>(rows, keys, values, mask, options).Forward(mixed, lse);
        Save(q, k, v, mask, lse);
        return [mixed.As(q.dtype)];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var (q, k, v, mask, lse) = (saved[0]!, saved[1]!, saved[2]!, saved[3], saved[4]!);
        if (gradients[0] is null)
            return [null, null, null, null];
        var type = ProductType(q);
        var (rows, keys, values, outer) =
            (DenseRows(q, type), DenseRows(k, type), DenseRows(v, type), DenseRows(gradients[0]!, type));
        var (dq, dk, dv) = (OfQueries(q.shape, type), HeadsBeside(k.shape, type), HeadsBeside(v.shape, type));
        if (type == ScalarType.BFloat16)
            new AttentionKernel<ushort, float>(rows, keys, values, mask, options).Backward(outer, lse, dq, dk, dv);
        else if (type == ScalarType.Float32)
            new AttentionKernel<float, float>(rows, keys, values, mask, options).Backward(outer, lse, dq, dk, dv);
        else
            new AttentionKernel<double, double>(rows, keys, values, mask, options).Backward(outer, lse, dq, dk, dv);
        return [dq.As(q.dtype), dk.As(k.dtype), dv.As(v.dtype), null];
    }

    /// <summary>Whether there are kernels for these tensors.</summary>
    public static bool Serves(Tensor q, Tensor k) => Kernels.Serve(q) && q.numel() > 0 && k.numel() > 0;

    /// <summary>The mask of each score [B, H, T, S], its rows dense.</summary>
    public static Tensor? WholeMask(AttentionShape shape, ScalarType type, Tensor? mask)
    {
        if (mask is null)
            return null;
        var wide = mask.As(SumType(type));
        if (wide.dim() == 0 || wide.size(-1) != shape.Keys)
            wide = wide.expand([.. wide.shape.Take(Math.Max(0, wide.shape.Length - 1)), shape.Keys]);
        return wide.Dense().expand(shape.Batch, shape.Heads, shape.Queries, shape.Keys);
    }

    private static ScalarType SumType(ScalarType type) => type == ScalarType.Float64 ? type : ScalarType.Float32;

    private static ScalarType ProductType(Tensor q) => q.dtype switch
    {
        ScalarType.Float64 => ScalarType.Float64,
        ScalarType.BFloat16 when Gemm.HasFastBFloat16 => ScalarType.BFloat16,
        _ => ScalarType.Float32,
    };

    // What blocks of queries write; tokens outside all segments are in no block.
    private Tensor OfQueries(long[] shape, ScalarType type)
    {
        var rows = HeadsBeside(shape, type);
        return options.Segments.Length > 0 ? rows.zero_() : rows;
    }

    // [B, H, T, d] stored as [B, T, H, d]: the heads join to [B, T, H d] without a copy.
    private static Tensor HeadsBeside(long[] shape, ScalarType type)
    {
        var (H, T, d) = (shape[1], shape[2], shape[3]);
        return torch.empty_strided(shape, [T * H * d, d, H * d, 1], type);
    }

    private static Tensor DenseRows(Tensor tensor, ScalarType type)
    {
        var typed = tensor.As(type);
        // A step of 0 or less than a row (expanded tensors) is no matrix to a BLAS.
        return typed.stride(3) == 1 && typed.stride(2) >= typed.size(3) ? typed : typed.Dense();
    }
}

/// <summary>The sizes of an attention.</summary>
internal readonly record struct AttentionShape(
    long Batch, long Heads, long KeyHeads, long Queries, long Keys, long HeadSize, long ValueSize)
{
    public static AttentionShape Of(Tensor q, Tensor k, Tensor v) =>
        new(q.size(0), q.size(1), k.size(1), q.size(2), k.size(2), q.size(3), v.size(3));
}

/// <summary>One head at a time of a [B, H, T, d] tensor whose last dimension is dense.</summary>
internal readonly unsafe struct Heads<T>(T* data, long batchStep, long headStep, long step)
    where T : unmanaged
{
    /// <summary>Elements from one token to the next.</summary>
    public readonly long Step = step;

    public Heads(Tensor tensor)
        : this(TensorMemory.Of<T>(tensor), tensor.stride(0), tensor.stride(1), tensor.stride(2))
    {
    }

    public T* Row(long b, long h, long token) => data + (b * batchStep) + (h * headStep) + (token * Step);
}

/// <summary>The fused operations composed of TorchSharp's, with libtorch's own gradients: for GPUs, for types without a
/// kernel, and to test the kernels by.</summary>
internal static partial class Composed
{
    /// <summary>Attention over whole score matrices. Query heads join their key head: [B Hkv, g T, d] x [B Hkv, S,
    /// d].</summary>
    public static Tensor causal_attention(Tensor q, Tensor k, Tensor v, Tensor? mask, AttentionOptions options)
    {
        using var scope = torch.NewDisposeScope();
        var (B, H, T, S, d, dv) = (q.size(0), q.size(1), q.size(2), k.size(2), q.size(3), v.size(3));
        var keyHeads = k.size(1);
        var rows = H / keyHeads * T;
        var wide = q.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var scores = torch.bmm(q.reshape(B * keyHeads, rows, d), k.reshape(B * keyHeads, S, d).transpose(1, 2))
            .to(wide) * options.Scale;
        if (options.Softcap > 0)
            scores = (scores / options.Softcap).tanh() * options.Softcap;
        scores = scores.view(B, H, T, S);
        if (mask is not null)
            scores = scores + mask.to(wide);
        if (HiddenKeys(q, S, options) is { } hidden)
            scores = scores.masked_fill(hidden, double.NegativeInfinity);
        // A row that sees no key has no softmax (0 / 0): zeros, as the kernels give.
        var blind = scores.detach().eq(double.NegativeInfinity).all(3, true);
        var p = scores.masked_fill(blind, 0).softmax(3).masked_fill(blind, 0).to(v.dtype);
        var mixed = torch.bmm(p.view(B * keyHeads, rows, S), v.reshape(B * keyHeads, S, dv)).view(B, H, T, dv);
        return mixed.transpose(1, 2).contiguous().transpose(1, 2).MoveToOuterDisposeScope();
    }

    // Which scores count as -inf: [T, S], or [B, 1, T, S] where segments share rows; null where none does.
    private static Tensor? HiddenKeys(Tensor q, long keys, AttentionOptions options)
    {
        var device = q.device;
        Tensor? hidden = null;
        if (options.Causal || options.Window > 0)
        {
            var key = torch.arange(keys, ScalarType.Int64, device).unsqueeze(0);
            var place = torch.arange(q.size(2), ScalarType.Int64, device).add(options.Offset).unsqueeze(1);
            if (options.Causal)
                hidden = key.gt(place);
            if (options.Window > 0)
                hidden = hidden is null ? key.le(place - options.Window)
                    : hidden.logical_or(key.le(place - options.Window));
        }
        if (options.Segments.Length == 0)
            return hidden;
        var of = new long[q.size(0) * q.size(2)];
        Array.Fill(of, -1);
        for (var i = 0; i < options.Segments.Length; i += 2)
            Array.Fill(of, i, (int)options.Segments[i], (int)(options.Segments[i + 1] - options.Segments[i]));
        var ids = torch.tensor(of, [q.size(0), 1, q.size(2)]).to(device);
        var across = ids.unsqueeze(3).ne(ids.unsqueeze(2)).logical_or(ids.lt(0).unsqueeze(3));
        return hidden is null ? across : across.logical_or(hidden);
    }
}
