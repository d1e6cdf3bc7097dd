using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Changes in place; each returns the tensor itself. Not on a leaf that requires a gradient while gradients are
// recorded.
public partial class Tensor
{
    /// <summary>this += alpha * other.</summary>
    public Tensor add_(Tensor other, double alpha = 1) { pt_add_(Handle, other.Handle, alpha); return this; }

    /// <summary>this += value.</summary>
    public Tensor add_(double value) { pt_add_scalar_(Handle, value); return this; }

    /// <summary>this -= other.</summary>
    public Tensor sub_(Tensor other) { pt_sub_(Handle, other.Handle); return this; }

    /// <summary>this -= value.</summary>
    public Tensor sub_(double value) { pt_add_scalar_(Handle, -value); return this; }

    /// <summary>this *= other.</summary>
    public Tensor mul_(Tensor other) { pt_mul_(Handle, other.Handle); return this; }

    /// <summary>this *= value.</summary>
    public Tensor mul_(double value) { pt_mul_scalar_(Handle, value); return this; }

    /// <summary>this /= other.</summary>
    public Tensor div_(Tensor other) { pt_div_(Handle, other.Handle); return this; }

    /// <summary>this /= value.</summary>
    public Tensor div_(double value) { pt_div_scalar_(Handle, value); return this; }

    /// <summary>this += value * a * b.</summary>
    public Tensor addcmul_(Tensor a, Tensor b, double value = 1)
    {
        pt_addcmul_(Handle, a.Handle, b.Handle, value);
        return this;
    }

    /// <summary>this += value * a / b.</summary>
    public Tensor addcdiv_(Tensor a, Tensor b, double value = 1)
    {
        pt_addcdiv_(Handle, a.Handle, b.Handle, value);
        return this;
    }

    /// <summary>this = beta * this + alpha * a b. Shapes: this [N, M], a [N, K], b [K, M].</summary>
    public Tensor addmm_(Tensor a, Tensor b, double beta = 1, double alpha = 1)
    {
        pt_addmm_(Handle, a.Handle, b.Handle, beta, alpha);
        return this;
    }

    /// <summary>this += weight * (end - this).</summary>
    public Tensor lerp_(Tensor end, double weight) { pt_lerp_(Handle, end.Handle, weight); return this; }

    /// <summary>Square root.</summary>
    public Tensor sqrt_() { pt_sqrt_(Handle); return this; }

    /// <summary>Zeros.</summary>
    public Tensor zero_() { pt_zero_(Handle); return this; }

    /// <summary>One value everywhere.</summary>
    public Tensor fill_(double value) { pt_fill_(Handle, value); return this; }

    /// <summary>The elements of another tensor, converted and broadcast.</summary>
    public Tensor copy_(Tensor source) { pt_copy_(Handle, source.Handle); return this; }

    /// <summary>source placed by index along dim. Shapes: index and source alike.</summary>
    public Tensor scatter_(long dim, Tensor index, Tensor source)
    {
        pt_scatter_(Handle, dim, index.Handle, source.Handle);
        return this;
    }

    /// <summary>A value placed by index along dim.</summary>
    public Tensor scatter_(long dim, Tensor index, double value)
    {
        pt_scatter_value_(Handle, dim, index.Handle, value);
        return this;
    }

    /// <summary>source rows written at index along dim. Shapes: index [n].</summary>
    public Tensor index_copy_(long dim, Tensor index, Tensor source)
    {
        pt_index_copy_(Handle, dim, index.Handle, source.Handle);
        return this;
    }

    /// <summary>source rows added at index along dim. Shapes: index [n].</summary>
    public Tensor index_add_(long dim, Tensor index, Tensor source)
    {
        pt_index_add_(Handle, dim, index.Handle, source.Handle);
        return this;
    }

    /// <summary>A value where the mask is true.</summary>
    public Tensor masked_fill_(Tensor mask, double value)
    {
        pt_masked_fill_(Handle, mask.Handle, value);
        return this;
    }
}
