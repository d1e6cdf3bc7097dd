namespace Peft.Torch;

// Selecting and placing elements; index tensors are int64. The functions are the tensor's own methods.
public static partial class torch
{
    /// <summary>A range along dim, a view.</summary>
    public static Tensor narrow(Tensor input, long dim, long start, long length) =>
        input.narrow(dim, start, length);

    /// <summary>One index along dim, a view without that dimension.</summary>
    public static Tensor select(Tensor input, long dim, long index) =>
        input.select(dim, index);

    /// <summary>Rows along dim. Shapes: index [n].</summary>
    public static Tensor index_select(Tensor input, long dim, Tensor index) =>
        input.index_select(dim, index);

    /// <summary>One element per index along dim. Shapes: the result is like index.</summary>
    public static Tensor gather(Tensor input, long dim, Tensor index) =>
        input.gather(dim, index);

    /// <summary>A copy with source placed by index along dim.</summary>
    public static Tensor scatter(Tensor input, long dim, Tensor index, Tensor source) =>
        input.scatter(dim, index, source);

    /// <summary>A copy with a value placed by index along dim.</summary>
    public static Tensor scatter(Tensor input, long dim, Tensor index, double value) =>
        input.scatter(dim, index, value);

    /// <summary>A copy with source added by index along dim.</summary>
    public static Tensor scatter_add(Tensor input, long dim, Tensor index, Tensor source) =>
        input.scatter_add(dim, index, source);

    /// <summary>A copy with source rows added at index along dim.</summary>
    public static Tensor index_add(Tensor input, long dim, Tensor index, Tensor source) =>
        input.index_add(dim, index, source);

    /// <summary>The elements where the mask is true. Shapes: [n].</summary>
    public static Tensor masked_select(Tensor input, Tensor mask) =>
        input.masked_select(mask);

    /// <summary>Indices of the elements that are not zero. Shapes: [n, ndim].</summary>
    public static Tensor nonzero(Tensor input) =>
        input.nonzero();

    /// <summary>How often each whole number occurs. Shapes: [N] gives [at least minlength].</summary>
    public static Tensor bincount(Tensor input, Tensor? weights = null, long minlength = 0) =>
        input.bincount(weights, minlength);
}
