using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Selecting and placing elements; index tensors are int64.
public partial class Tensor
{
    /// <summary>A range along dim, a view.</summary>
    public Tensor narrow(long dim, long start, long length)
    {
        pt_narrow(Handle, dim, start, length, out var result);
        return new Tensor(result);
    }

    /// <summary>start to stop by step along dim, a view.</summary>
    public Tensor slice(long dim, long start, long stop, long step = 1)
    {
        pt_slice(Handle, dim, start, stop, step, out var result);
        return new Tensor(result);
    }

    /// <summary>One index along dim, a view without that dimension.</summary>
    public Tensor select(long dim, long index)
    {
        pt_select(Handle, dim, index, out var result);
        return new Tensor(result);
    }

    /// <summary>Rows along dim. Shapes: index [n].</summary>
    public Tensor index_select(long dim, Tensor index)
    {
        pt_index_select(Handle, dim, index.Handle, out var result);
        return new Tensor(result);
    }

    /// <summary>One element per index along dim. Shapes: the result is like index.</summary>
    public Tensor gather(long dim, Tensor index)
    {
        pt_gather(Handle, dim, index.Handle, out var result);
        return new Tensor(result);
    }

    /// <summary>A copy with source placed by index along dim.</summary>
    public Tensor scatter(long dim, Tensor index, Tensor source)
    {
        pt_scatter(Handle, dim, index.Handle, source.Handle, out var result);
        return new Tensor(result);
    }

    /// <summary>A copy with a value placed by index along dim.</summary>
    public Tensor scatter(long dim, Tensor index, double value)
    {
        pt_scatter_value(Handle, dim, index.Handle, value, out var result);
        return new Tensor(result);
    }

    /// <summary>A copy with source added by index along dim.</summary>
    public Tensor scatter_add(long dim, Tensor index, Tensor source)
    {
        pt_scatter_add(Handle, dim, index.Handle, source.Handle, out var result);
        return new Tensor(result);
    }

    /// <summary>A copy with source rows added at index along dim.</summary>
    public Tensor index_add(long dim, Tensor index, Tensor source)
    {
        pt_index_add(Handle, dim, index.Handle, source.Handle, out var result);
        return new Tensor(result);
    }

    /// <summary>A copy with a value where the mask is true.</summary>
    public Tensor masked_fill(Tensor mask, double value)
    {
        pt_masked_fill(Handle, mask.Handle, value, out var result);
        return new Tensor(result);
    }

    /// <summary>The elements where the mask is true. Shapes: [n].</summary>
    public Tensor masked_select(Tensor mask)
    {
        pt_masked_select(Handle, mask.Handle, out var result);
        return new Tensor(result);
    }

    /// <summary>Indices of the elements that are not zero. Shapes: [n, ndim].</summary>
    public Tensor nonzero() { pt_nonzero(Handle, out var result); return new Tensor(result); }

    /// <summary>How often each whole number occurs. Shapes: [N] gives [at least minlength].</summary>
    public Tensor bincount(Tensor? weights = null, long minlength = 0)
    {
        pt_bincount(Handle, Optional(weights), minlength, out var result);
        return new Tensor(result);
    }
}
