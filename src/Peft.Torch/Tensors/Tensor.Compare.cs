using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Comparisons; the results are of type bool.
public partial class Tensor
{
    /// <summary>Where equal.</summary>
    public Tensor eq(Tensor other) { pt_eq(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>Where equal to a value.</summary>
    public Tensor eq(double value) { pt_eq_scalar(Handle, value, out var result); return new Tensor(result); }

    /// <summary>Where not equal.</summary>
    public Tensor ne(Tensor other) { pt_ne(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>Where not equal to a value.</summary>
    public Tensor ne(double value) { pt_ne_scalar(Handle, value, out var result); return new Tensor(result); }

    /// <summary>Where below.</summary>
    public Tensor lt(Tensor other) { pt_lt(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>Where below a value.</summary>
    public Tensor lt(double value) { pt_lt_scalar(Handle, value, out var result); return new Tensor(result); }

    /// <summary>Where at most.</summary>
    public Tensor le(Tensor other) { pt_le(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>Where at most a value.</summary>
    public Tensor le(double value) { pt_le_scalar(Handle, value, out var result); return new Tensor(result); }

    /// <summary>Where above.</summary>
    public Tensor gt(Tensor other) { pt_gt(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>Where above a value.</summary>
    public Tensor gt(double value) { pt_gt_scalar(Handle, value, out var result); return new Tensor(result); }

    /// <summary>Where at least.</summary>
    public Tensor ge(Tensor other) { pt_ge(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>Where at least a value.</summary>
    public Tensor ge(double value) { pt_ge_scalar(Handle, value, out var result); return new Tensor(result); }

    /// <summary>Both.</summary>
    public Tensor logical_and(Tensor other)
    {
        pt_logical_and(Handle, other.Handle, out var result);
        return new Tensor(result);
    }

    /// <summary>Either.</summary>
    public Tensor logical_or(Tensor other)
    {
        pt_logical_or(Handle, other.Handle, out var result);
        return new Tensor(result);
    }

    /// <summary>Not.</summary>
    public Tensor logical_not() { pt_logical_not(Handle, out var result); return new Tensor(result); }

    /// <summary>Where not a number.</summary>
    public Tensor isnan() { pt_isnan(Handle, out var result); return new Tensor(result); }

    /// <summary>Where finite.</summary>
    public Tensor isfinite() { pt_isfinite(Handle, out var result); return new Tensor(result); }

    /// <summary>Whether any element is not zero, a scalar.</summary>
    public Tensor any() { pt_any(Handle, out var result); return new Tensor(result); }

    /// <summary>Whether any element along dim is not zero.</summary>
    public Tensor any(long dim, bool keepdim = false)
    {
        pt_any_dim(Handle, dim, keepdim, out var result);
        return new Tensor(result);
    }

    /// <summary>Whether all elements are not zero, a scalar.</summary>
    public Tensor all() { pt_all(Handle, out var result); return new Tensor(result); }

    /// <summary>Whether all elements along dim are not zero.</summary>
    public Tensor all(long dim, bool keepdim = false)
    {
        pt_all_dim(Handle, dim, keepdim, out var result);
        return new Tensor(result);
    }
}
