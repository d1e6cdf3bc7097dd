using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Operators, and the operations whose arguments need more than a line. A whole number beside an integer tensor keeps
// it an
// integer tensor, as in Python; division always gives floating point.
public partial class Tensor
{
    /// <summary>One index of the first dimension, a view.</summary>
    public Tensor this[long index] => select(0, index);

    /// <summary>One index of each of the first two dimensions, a view.</summary>
    public Tensor this[long index0, long index1]
    {
        get
        {
            using var row = select(0, index0);
            return row.select(0, index1);
        }
    }

    /// <summary>Element-wise sum.</summary>
    public static Tensor operator +(Tensor a, Tensor b) => a.add(b);

    /// <summary>Sum with a number.</summary>
    public static Tensor operator +(Tensor a, double b) => a.add(b);

    /// <summary>Sum with a number.</summary>
    public static Tensor operator +(double a, Tensor b) => b.add(a);

    /// <summary>Element-wise difference.</summary>
    public static Tensor operator -(Tensor a, Tensor b) => a.sub(b);

    /// <summary>Difference with a number.</summary>
    public static Tensor operator -(Tensor a, double b) => a.sub(b);

    /// <summary>Difference with a number.</summary>
    public static Tensor operator -(double a, Tensor b) => b.rsub(a);

    /// <summary>Negation.</summary>
    public static Tensor operator -(Tensor a) => a.neg();

    /// <summary>Element-wise product.</summary>
    public static Tensor operator *(Tensor a, Tensor b) => a.mul(b);

    /// <summary>Product with a number.</summary>
    public static Tensor operator *(Tensor a, double b) => a.mul(b);

    /// <summary>Product with a number.</summary>
    public static Tensor operator *(double a, Tensor b) => b.mul(a);

    /// <summary>Element-wise quotient.</summary>
    public static Tensor operator /(Tensor a, Tensor b) => a.div(b);

    /// <summary>Quotient with a number.</summary>
    public static Tensor operator /(Tensor a, double b) => a.div(b);

    /// <summary>Quotient with a number.</summary>
    public static Tensor operator /(double a, Tensor b)
    {
        using var inverse = b.pow(-1);
        return inverse.mul(a);
    }

    /// <summary>Limited to [min, max]; null means no limit on that side.</summary>
    public Tensor clamp(double? min = null, double? max = null)
    {
        pt_clamp(Handle, min ?? double.NaN, max ?? double.NaN, out var result);
        return new Tensor(result);
    }

    /// <summary>Limited to [min, max] in place; null means no limit on that side.</summary>
    public Tensor clamp_(double? min = null, double? max = null)
    {
        pt_clamp_(Handle, min ?? double.NaN, max ?? double.NaN);
        return this;
    }

    /// <summary>Broadcast to another tensor's shape, a view.</summary>
    public Tensor expand_as(Tensor other) => expand(other.shape);

    /// <summary>Viewed in another tensor's shape.</summary>
    public Tensor view_as(Tensor other) => view(other.shape);

    /// <summary>Indices that sort along dim; int64.</summary>
    public Tensor argsort(long dim = -1, bool descending = false, bool stable = false)
    {
        var (values, indices) = sort(dim, descending, stable);
        values.Dispose();
        return indices;
    }

    /// <summary>Whether all elements are close: |a - b| at most atol + rtol |b|.</summary>
    public bool allclose(Tensor other, double rtol = 1e-05, double atol = 1e-08, bool equal_nan = false)
    {
        pt_allclose(Handle, other.Handle, rtol, atol, equal_nan, out var value);
        return value;
    }

    /// <summary>Whether shape and elements are the same.</summary>
    public bool equal(Tensor other)
    {
        pt_equal(Handle, other.Handle, out var value);
        return value;
    }
}
