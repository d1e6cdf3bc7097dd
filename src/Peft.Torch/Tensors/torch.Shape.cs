namespace Peft.Torch;

// Other shapes of the same elements; views share memory with the tensor. The functions are the tensor's own methods.
public static partial class torch
{
    /// <summary>Two dimensions exchanged, a view.</summary>
    public static Tensor transpose(Tensor input, long dim0, long dim1) =>
        input.transpose(dim0, dim1);

    /// <summary>Each element count times in a row along dim.</summary>
    public static Tensor repeat_interleave(Tensor input, long count, long dim) =>
        input.repeat_interleave(count, dim);

    /// <summary>Row i counts[i] times along dim.</summary>
    public static Tensor repeat_interleave(Tensor input, Tensor counts, long dim) =>
        input.repeat_interleave(counts, dim);

    /// <summary>Views of at most split_size along dim.</summary>
    public static Tensor[] split(Tensor input, long split_size, long dim = 0) =>
        input.split(split_size, dim);

    /// <summary>Views of the given sizes along dim.</summary>
    public static Tensor[] split(Tensor input, ReadOnlySpan<long> sizes, long dim = 0) =>
        input.split(sizes, dim);

    /// <summary>At most chunks views along dim.</summary>
    public static Tensor[] chunk(Tensor input, long chunks, long dim = 0) =>
        input.chunk(chunks, dim);

    /// <summary>The upper triangle, the rest zero.</summary>
    public static Tensor triu(Tensor input, long diagonal = 0) =>
        input.triu(diagonal);

    /// <summary>The lower triangle, the rest zero.</summary>
    public static Tensor tril(Tensor input, long diagonal = 0) =>
        input.tril(diagonal);

    /// <summary>The diagonal of a matrix, or the matrix of a diagonal.</summary>
    public static Tensor diag(Tensor input, long diagonal = 0) =>
        input.diag(diagonal);
}
