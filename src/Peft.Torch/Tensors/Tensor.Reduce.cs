using System.Runtime.CompilerServices;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Sums, extrema and sorting.
public partial class Tensor
{
    /// <summary>Sum of all elements, a scalar.</summary>
    public Tensor sum(ScalarType? dtype = null)
    {
        pt_sum(Handle, Number(dtype), out var result);
        return new Tensor(result);
    }

    /// <summary>Sum along dimensions.</summary>
    public Tensor sum(ReadOnlySpan<long> dim, bool keepdim = false, ScalarType? dtype = null)
    {
        pt_sum_dim(Handle, dim, dim.Length, keepdim, Number(dtype), out var result);
        return new Tensor(result);
    }

    /// <summary>Sum along a dimension.</summary>
    [OverloadResolutionPriority(1)] // or sum(0) would name a type
    public Tensor sum(long dim, bool keepdim = false, ScalarType? dtype = null)
    {
        pt_sum_dim(Handle, [dim], 1, keepdim, Number(dtype), out var result);
        return new Tensor(result);
    }

    /// <summary>Mean of all elements, a scalar.</summary>
    public Tensor mean(ScalarType? dtype = null)
    {
        pt_mean(Handle, Number(dtype), out var result);
        return new Tensor(result);
    }

    /// <summary>Mean along dimensions.</summary>
    public Tensor mean(ReadOnlySpan<long> dim, bool keepdim = false, ScalarType? dtype = null)
    {
        pt_mean_dim(Handle, dim, dim.Length, keepdim, Number(dtype), out var result);
        return new Tensor(result);
    }

    /// <summary>Mean along a dimension.</summary>
    [OverloadResolutionPriority(1)] // or mean(0) would name a type
    public Tensor mean(long dim, bool keepdim = false, ScalarType? dtype = null)
    {
        pt_mean_dim(Handle, [dim], 1, keepdim, Number(dtype), out var result);
        return new Tensor(result);
    }

    /// <summary>Product of all elements, a scalar.</summary>
    public Tensor prod() { pt_prod(Handle, out var result); return new Tensor(result); }

    /// <summary>Largest along dimensions. Gradient: shared among equals.</summary>
    public Tensor amax(ReadOnlySpan<long> dim, bool keepdim = false)
    {
        pt_amax(Handle, dim, dim.Length, keepdim, out var result);
        return new Tensor(result);
    }

    /// <summary>Largest along a dimension. Gradient: shared among equals.</summary>
    public Tensor amax(long dim, bool keepdim = false)
    {
        pt_amax(Handle, [dim], 1, keepdim, out var result);
        return new Tensor(result);
    }

    /// <summary>Smallest along dimensions.</summary>
    public Tensor amin(ReadOnlySpan<long> dim, bool keepdim = false)
    {
        pt_amin(Handle, dim, dim.Length, keepdim, out var result);
        return new Tensor(result);
    }

    /// <summary>Smallest along a dimension.</summary>
    public Tensor amin(long dim, bool keepdim = false)
    {
        pt_amin(Handle, [dim], 1, keepdim, out var result);
        return new Tensor(result);
    }

    /// <summary>Largest of all elements, a scalar.</summary>
    public Tensor max() { pt_max(Handle, out var result); return new Tensor(result); }

    /// <summary>Smallest of all elements, a scalar.</summary>
    public Tensor min() { pt_min(Handle, out var result); return new Tensor(result); }

    /// <summary>Largest along dim, and where.</summary>
    public (Tensor values, Tensor indices) max(long dim, bool keepdim = false)
    {
        pt_max_dim(Handle, dim, keepdim, out var values, out var indices);
        return (new Tensor(values), new Tensor(indices));
    }

    /// <summary>Smallest along dim, and where.</summary>
    public (Tensor values, Tensor indices) min(long dim, bool keepdim = false)
    {
        pt_min_dim(Handle, dim, keepdim, out var values, out var indices);
        return (new Tensor(values), new Tensor(indices));
    }

    /// <summary>Index of the largest along dim.</summary>
    public Tensor argmax(long dim, bool keepdim = false)
    {
        pt_argmax(Handle, dim, keepdim, out var result);
        return new Tensor(result);
    }

    /// <summary>Index of the smallest along dim.</summary>
    public Tensor argmin(long dim, bool keepdim = false)
    {
        pt_argmin(Handle, dim, keepdim, out var result);
        return new Tensor(result);
    }

    /// <summary>Standard deviation of all elements, a scalar.</summary>
    public Tensor std(bool unbiased = true) { pt_std(Handle, unbiased, out var result); return new Tensor(result); }

    /// <summary>Standard deviation along a dimension.</summary>
    public Tensor std(long dim, bool unbiased = true, bool keepdim = false)
    {
        pt_std_dim(Handle, [dim], 1, unbiased, keepdim, out var result);
        return new Tensor(result);
    }

    /// <summary>Variance of all elements, a scalar.</summary>
    public Tensor var(bool unbiased = true) { pt_var(Handle, unbiased, out var result); return new Tensor(result); }

    /// <summary>Variance along a dimension.</summary>
    public Tensor var(long dim, bool unbiased = true, bool keepdim = false)
    {
        pt_var_dim(Handle, [dim], 1, unbiased, keepdim, out var result);
        return new Tensor(result);
    }

    /// <summary>p-norm of all elements, a scalar.</summary>
    public Tensor norm(double p = 2) { pt_norm(Handle, p, out var result); return new Tensor(result); }

    /// <summary>p-norm along a dimension.</summary>
    public Tensor norm(long dim, bool keepdim = false, double p = 2)
    {
        pt_norm_dim(Handle, p, [dim], 1, keepdim, out var result);
        return new Tensor(result);
    }

    /// <summary>log of the sum of exponentials along a dimension.</summary>
    public Tensor logsumexp(long dim, bool keepdim = false)
    {
        pt_logsumexp(Handle, [dim], 1, keepdim, out var result);
        return new Tensor(result);
    }

    /// <summary>Running sum along dim.</summary>
    public Tensor cumsum(long dim, ScalarType? dtype = null)
    {
        pt_cumsum(Handle, dim, Number(dtype), out var result);
        return new Tensor(result);
    }

    /// <summary>The k largest or smallest along dim, and where. Shapes: [.., K].</summary>
    public (Tensor values, Tensor indices) topk(long k, long dim = -1, bool largest = true, bool sorted = true)
    {
        pt_topk(Handle, k, dim, largest, sorted, out var values, out var indices);
        return (new Tensor(values), new Tensor(indices));
    }

    /// <summary>Sorted along dim, and from where.</summary>
    public (Tensor values, Tensor indices) sort(long dim = -1, bool descending = false, bool stable = false)
    {
        pt_sort(Handle, dim, descending, stable, out var values, out var indices);
        return (new Tensor(values), new Tensor(indices));
    }

    /// <summary>exp(this) / sum of exp(this) along dim, computed in dtype where one is given.</summary>
    public Tensor softmax(long dim, ScalarType? dtype = null)
    {
        pt_softmax(Handle, dim, Number(dtype), out var result);
        return new Tensor(result);
    }

    /// <summary>log of softmax along dim, computed in dtype where one is given.</summary>
    public Tensor log_softmax(long dim, ScalarType? dtype = null)
    {
        pt_log_softmax(Handle, dim, Number(dtype), out var result);
        return new Tensor(result);
    }
}
