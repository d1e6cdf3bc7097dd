namespace Peft.Torch;

// Sums, extrema and sorting. The functions are the tensor's own methods.
public static partial class torch
{
    /// <summary>Sum of all elements, a scalar.</summary>
    public static Tensor sum(Tensor input, ScalarType? dtype = null) =>
        input.sum(dtype);

    /// <summary>Sum along dimensions.</summary>
    public static Tensor sum(Tensor input, ReadOnlySpan<long> dim, bool keepdim = false, ScalarType? dtype = null) =>
        input.sum(dim, keepdim, dtype);

    /// <summary>Sum along a dimension.</summary>
    public static Tensor sum(Tensor input, long dim, bool keepdim = false, ScalarType? dtype = null) =>
        input.sum(dim, keepdim, dtype);

    /// <summary>Mean of all elements, a scalar.</summary>
    public static Tensor mean(Tensor input, ScalarType? dtype = null) =>
        input.mean(dtype);

    /// <summary>Mean along dimensions.</summary>
    public static Tensor mean(Tensor input, ReadOnlySpan<long> dim, bool keepdim = false, ScalarType? dtype = null) =>
        input.mean(dim, keepdim, dtype);

    /// <summary>Mean along a dimension.</summary>
    public static Tensor mean(Tensor input, long dim, bool keepdim = false, ScalarType? dtype = null) =>
        input.mean(dim, keepdim, dtype);

    /// <summary>Product of all elements, a scalar.</summary>
    public static Tensor prod(Tensor input) =>
        input.prod();

    /// <summary>Largest along dimensions. Gradient: shared among equals.</summary>
    public static Tensor amax(Tensor input, ReadOnlySpan<long> dim, bool keepdim = false) =>
        input.amax(dim, keepdim);

    /// <summary>Largest along a dimension. Gradient: shared among equals.</summary>
    public static Tensor amax(Tensor input, long dim, bool keepdim = false) =>
        input.amax(dim, keepdim);

    /// <summary>Smallest along dimensions.</summary>
    public static Tensor amin(Tensor input, ReadOnlySpan<long> dim, bool keepdim = false) =>
        input.amin(dim, keepdim);

    /// <summary>Smallest along a dimension.</summary>
    public static Tensor amin(Tensor input, long dim, bool keepdim = false) =>
        input.amin(dim, keepdim);

    /// <summary>Largest of all elements, a scalar.</summary>
    public static Tensor max(Tensor input) =>
        input.max();

    /// <summary>Smallest of all elements, a scalar.</summary>
    public static Tensor min(Tensor input) =>
        input.min();

    /// <summary>Largest along dim, and where.</summary>
    public static (Tensor values, Tensor indices) max(Tensor input, long dim, bool keepdim = false) =>
        input.max(dim, keepdim);

    /// <summary>Smallest along dim, and where.</summary>
    public static (Tensor values, Tensor indices) min(Tensor input, long dim, bool keepdim = false) =>
        input.min(dim, keepdim);

    /// <summary>Index of the largest along dim.</summary>
    public static Tensor argmax(Tensor input, long dim, bool keepdim = false) =>
        input.argmax(dim, keepdim);

    /// <summary>Index of the smallest along dim.</summary>
    public static Tensor argmin(Tensor input, long dim, bool keepdim = false) =>
        input.argmin(dim, keepdim);

    /// <summary>Standard deviation of all elements, a scalar.</summary>
    public static Tensor std(Tensor input, bool unbiased = true) =>
        input.std(unbiased);

    /// <summary>Standard deviation along a dimension.</summary>
    public static Tensor std(Tensor input, long dim, bool unbiased = true, bool keepdim = false) =>
        input.std(dim, unbiased, keepdim);

    /// <summary>Variance of all elements, a scalar.</summary>
    public static Tensor var(Tensor input, bool unbiased = true) =>
        input.var(unbiased);

    /// <summary>Variance along a dimension.</summary>
    public static Tensor var(Tensor input, long dim, bool unbiased = true, bool keepdim = false) =>
        input.var(dim, unbiased, keepdim);

    /// <summary>p-norm of all elements, a scalar.</summary>
    public static Tensor norm(Tensor input, double p = 2) =>
        input.norm(p);

    /// <summary>p-norm along a dimension.</summary>
    public static Tensor norm(Tensor input, long dim, bool keepdim = false, double p = 2) =>
        input.norm(dim, keepdim, p);

    /// <summary>log of the sum of exponentials along a dimension.</summary>
    public static Tensor logsumexp(Tensor input, long dim, bool keepdim = false) =>
        input.logsumexp(dim, keepdim);

    /// <summary>Running sum along dim.</summary>
    public static Tensor cumsum(Tensor input, long dim, ScalarType? dtype = null) =>
        input.cumsum(dim, dtype);

    /// <summary>The k largest or smallest along dim, and where. Shapes: [.., K].</summary>
    public static (Tensor values, Tensor indices) topk(Tensor input, long k, long dim = -1, bool largest = true, bool sorted = true) =>
        input.topk(k, dim, largest, sorted);

    /// <summary>Sorted along dim, and from where.</summary>
    public static (Tensor values, Tensor indices) sort(Tensor input, long dim = -1, bool descending = false, bool stable = false) =>
        input.sort(dim, descending, stable);

    /// <summary>exp(this) / sum of exp(this) along dim, computed in dtype where one is given.</summary>
    public static Tensor softmax(Tensor input, long dim, ScalarType? dtype = null) =>
        input.softmax(dim, dtype);

    /// <summary>log of softmax along dim, computed in dtype where one is given.</summary>
    public static Tensor log_softmax(Tensor input, long dim, ScalarType? dtype = null) =>
        input.log_softmax(dim, dtype);
}
