namespace Peft.Torch;

/// <summary>Attention on the CPU by <see cref="AttentionKernel{T, W}"/>; inputs q, k, v, mask.</summary>
internal sealed class AttentionFunction(AttentionOptions options) : AutogradFunction
{
    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (q, k, v, mask) = (inputs[0]!, inputs[1]!, inputs[2]!, inputs[3]);
        var type = ProductType(q);
        var mixed = HeadsBeside([q.size(0), q.size(1), q.size(2), v.size(3)], type);
        // Tokens outside all segments are in no block.
        if (options.Segments.Length > 0)
            mixed.zero_();
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
        var (rows, keys, values, outer) = (DenseRows(q, type), DenseRows(k, type), DenseRows(v, type), DenseRows(gradients[0]!, type));
        var (dq, dk, dv) = (HeadsBeside(q.shape, type), HeadsBeside(k.shape, type), HeadsBeside(v.shape, type));
        // So do queries that see no key.
        dq.zero_();
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
    public static Tensor? WholeMask(Tensor q, Tensor k, Tensor? mask)
    {
        if (mask is null)
            return null;
        var wide = mask.As(SumType(q.dtype));
        if (wide.dim() == 0 || wide.size(-1) != k.size(2))
            wide = wide.expand([.. wide.shape.Take(Math.Max(0, wide.shape.Length - 1)), k.size(2)]);
        return wide.Dense().expand(q.size(0), q.size(1), q.size(2), k.size(2));
    }

    private static ScalarType SumType(ScalarType type) => type == ScalarType.Float64 ? type : ScalarType.Float32;

    private static ScalarType ProductType(Tensor q) => q.dtype switch
    {
        ScalarType.Float64 => ScalarType.Float64,
        ScalarType.BFloat16 when Gemm.HasFastBFloat16 => ScalarType.BFloat16,
        _ => ScalarType.Float32,
    };

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
