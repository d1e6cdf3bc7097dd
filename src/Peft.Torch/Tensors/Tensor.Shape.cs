using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Other shapes of the same elements; views share memory with the tensor.
public partial class Tensor
{
    /// <summary>The transpose of a matrix, a view. Shapes: [N, M] gives [M, N].</summary>
    public Tensor t() { pt_t(Handle, out var result); return new Tensor(result); }

    /// <summary>Two dimensions exchanged, a view.</summary>
    public Tensor transpose(long dim0, long dim1)
    {
        pt_transpose(Handle, dim0, dim1, out var result);
        return new Tensor(result);
    }

    /// <summary>Dimensions in another order, a view.</summary>
    public Tensor permute(params ReadOnlySpan<long> dims)
    {
        pt_permute(Handle, dims, dims.Length, out var result);
        return new Tensor(result);
    }

    /// <summary>Another shape, one size may be -1; a view where the memory allows it.</summary>
    public Tensor reshape(params ReadOnlySpan<long> shape)
    {
        pt_reshape(Handle, shape, shape.Length, out var result);
        return new Tensor(result);
    }

    /// <summary>Another shape of the same memory, one size may be -1. Errors: where the memory does not allow
    /// it.</summary>
    public Tensor view(params ReadOnlySpan<long> shape)
    {
        pt_view(Handle, shape, shape.Length, out var result);
        return new Tensor(result);
    }

    /// <summary>Dimensions start_dim to end_dim become one.</summary>
    public Tensor flatten(long start_dim = 0, long end_dim = -1)
    {
        pt_flatten(Handle, start_dim, end_dim, out var result);
        return new Tensor(result);
    }

    /// <summary>A dimension of size 1 inserted, a view.</summary>
    public Tensor unsqueeze(long dim) { pt_unsqueeze(Handle, dim, out var result); return new Tensor(result); }

    /// <summary>A dimension of size 1 removed, a view.</summary>
    public Tensor squeeze(long dim) { pt_squeeze(Handle, dim, out var result); return new Tensor(result); }

    /// <summary>All dimensions of size 1 removed, a view.</summary>
    public Tensor squeeze() { pt_squeeze_all(Handle, out var result); return new Tensor(result); }

    /// <summary>Sizes of 1 broadcast without copying, -1 keeps a size; a view.</summary>
    public Tensor expand(params ReadOnlySpan<long> shape)
    {
        pt_expand(Handle, shape, shape.Length, out var result);
        return new Tensor(result);
    }

    /// <summary>Row-major without gaps; a copy only where needed.</summary>
    public Tensor contiguous() { pt_contiguous(Handle, out var result); return new Tensor(result); }

    /// <summary>Tiled copies.</summary>
    public Tensor repeat(params ReadOnlySpan<long> counts)
    {
        pt_repeat(Handle, counts, counts.Length, out var result);
        return new Tensor(result);
    }

    /// <summary>Each element count times in a row along dim.</summary>
    public Tensor repeat_interleave(long count, long dim)
    {
        pt_repeat_interleave(Handle, count, dim, out var result);
        return new Tensor(result);
    }

    /// <summary>Row i counts[i] times along dim.</summary>
    public Tensor repeat_interleave(Tensor counts, long dim)
    {
        pt_repeat_interleave_each(Handle, counts.Handle, dim, out var result);
        return new Tensor(result);
    }

    /// <summary>Views of at most split_size along dim.</summary>
    public Tensor[] split(long split_size, long dim = 0)
    {
        pt_split(Handle, split_size, dim, out var list);
        return Items(list);
    }

    /// <summary>Views of the given sizes along dim.</summary>
    public Tensor[] split(ReadOnlySpan<long> sizes, long dim = 0)
    {
        pt_split_sizes(Handle, sizes, sizes.Length, dim, out var list);
        return Items(list);
    }

    /// <summary>At most chunks views along dim.</summary>
    public Tensor[] chunk(long chunks, long dim = 0)
    {
        pt_chunk(Handle, chunks, dim, out var list);
        return Items(list);
    }

    /// <summary>The upper triangle, the rest zero.</summary>
    public Tensor triu(long diagonal = 0) { pt_triu(Handle, diagonal, out var result); return new Tensor(result); }

    /// <summary>The lower triangle, the rest zero.</summary>
    public Tensor tril(long diagonal = 0) { pt_tril(Handle, diagonal, out var result); return new Tensor(result); }

    /// <summary>Reversed along dimensions.</summary>
    public Tensor flip(params ReadOnlySpan<long> dims)
    {
        pt_flip(Handle, dims, dims.Length, out var result);
        return new Tensor(result);
    }

    /// <summary>The diagonal of a matrix, or the matrix of a diagonal.</summary>
    public Tensor diag(long diagonal = 0) { pt_diag(Handle, diagonal, out var result); return new Tensor(result); }

    /// <summary>A copy with memory of its own; gradients flow through it.</summary>
    public Tensor clone() { pt_clone(Handle, out var result); return new Tensor(result); }

    /// <summary>The same memory without autograd.</summary>
    public Tensor detach() { pt_detach(Handle, out var result); return new Tensor(result); }

    /// <summary>A second handle of the same tensor, with a life of its own.</summary>
    public Tensor alias() { pt_alias(Handle, out var result); return new Tensor(result); }
}
