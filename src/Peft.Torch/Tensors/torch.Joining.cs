using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Functions of several tensors.
public static partial class torch
{
    /// <summary>Joined along an existing dimension.</summary>
    public static Tensor cat(IEnumerable<Tensor> tensors, long dim = 0)
    {
        using var list = TensorListHandle.Of(tensors);
        pt_cat(list, dim, out var result);
        return new Tensor(result);
    }

    /// <summary>Joined along a new dimension.</summary>
    public static Tensor stack(IEnumerable<Tensor> tensors, long dim = 0)
    {
        using var list = TensorListHandle.Of(tensors);
        pt_stack(list, dim, out var result);
        return new Tensor(result);
    }

    /// <summary>x where the condition is true, else y; shapes broadcast.</summary>
    public static Tensor where(Tensor condition, Tensor x, Tensor y)
    {
        pt_where(condition.Handle, x.Handle, y.Handle, out var result);
        return new Tensor(result);
    }

    /// <summary>Einstein summation, such as <c>einsum("nd,ed-&gt;ne", x, w)</c>.</summary>
    public static Tensor einsum(string equation, params Tensor[] operands)
    {
        using var list = TensorListHandle.Of(operands);
        pt_einsum(equation, list, out var result);
        return new Tensor(result);
    }

    /// <summary>Limited to [min, max]; null means no limit on that side.</summary>
    public static Tensor clamp(Tensor input, double? min = null, double? max = null) => input.clamp(min, max);

    /// <summary>Indices that sort along dim; int64.</summary>
    public static Tensor argsort(Tensor input, long dim = -1, bool descending = false, bool stable = false) =>
        input.argsort(dim, descending, stable);

    /// <summary>Whether all elements are close: |a - b| at most atol + rtol |b|.</summary>
    public static bool allclose(
        Tensor input, Tensor other, double rtol = 1e-05, double atol = 1e-08, bool equal_nan = false) =>
        input.allclose(other, rtol, atol, equal_nan);

    /// <summary>Whether shape and elements are the same.</summary>
    public static bool equal(Tensor input, Tensor other) => input.equal(other);

    /// <summary>Whether every element of every tensor is finite; waits for the device once.</summary>
    public static bool all_finite(IEnumerable<Tensor> tensors)
    {
        using var list = TensorListHandle.Of(tensors);
        pt_all_finite(list, out var finite);
        return finite;
    }

    /// <summary>The 2-norm (or another p-norm) over all elements of all tensors; waits for the device once.</summary>
    public static double total_norm(IEnumerable<Tensor> tensors, double norm_type = 2)
    {
        using var list = TensorListHandle.Of(tensors);
        pt_total_norm(list, norm_type, out var norm);
        return norm;
    }
}
