namespace Peft.Torch;

// Comparisons; the results are of type bool. The functions are the tensor's own methods.
public static partial class torch
{
    /// <summary>Where equal.</summary>
    public static Tensor eq(Tensor input, Tensor other) =>
        input.eq(other);

    /// <summary>Where equal to a value.</summary>
    public static Tensor eq(Tensor input, double value) =>
        input.eq(value);

    /// <summary>Where not equal.</summary>
    public static Tensor ne(Tensor input, Tensor other) =>
        input.ne(other);

    /// <summary>Where not equal to a value.</summary>
    public static Tensor ne(Tensor input, double value) =>
        input.ne(value);

    /// <summary>Where below.</summary>
    public static Tensor lt(Tensor input, Tensor other) =>
        input.lt(other);

    /// <summary>Where below a value.</summary>
    public static Tensor lt(Tensor input, double value) =>
        input.lt(value);

    /// <summary>Where at most.</summary>
    public static Tensor le(Tensor input, Tensor other) =>
        input.le(other);

    /// <summary>Where at most a value.</summary>
    public static Tensor le(Tensor input, double value) =>
        input.le(value);

    /// <summary>Where above.</summary>
    public static Tensor gt(Tensor input, Tensor other) =>
        input.gt(other);

    /// <summary>Where above a value.</summary>
    public static Tensor gt(Tensor input, double value) =>
        input.gt(value);

    /// <summary>Where at least.</summary>
    public static Tensor ge(Tensor input, Tensor other) =>
        input.ge(other);

    /// <summary>Where at least a value.</summary>
    public static Tensor ge(Tensor input, double value) =>
        input.ge(value);

    /// <summary>Both.</summary>
    public static Tensor logical_and(Tensor input, Tensor other) =>
        input.logical_and(other);

    /// <summary>Either.</summary>
    public static Tensor logical_or(Tensor input, Tensor other) =>
        input.logical_or(other);

    /// <summary>Not.</summary>
    public static Tensor logical_not(Tensor input) =>
        input.logical_not();

    /// <summary>Where not a number.</summary>
    public static Tensor isnan(Tensor input) =>
        input.isnan();

    /// <summary>Where finite.</summary>
    public static Tensor isfinite(Tensor input) =>
        input.isfinite();

    /// <summary>Whether any element is not zero, a scalar.</summary>
    public static Tensor any(Tensor input) =>
        input.any();

    /// <summary>Whether any element along dim is not zero.</summary>
    public static Tensor any(Tensor input, long dim, bool keepdim = false) =>
        input.any(dim, keepdim);

    /// <summary>Whether all elements are not zero, a scalar.</summary>
    public static Tensor all(Tensor input) =>
        input.all();

    /// <summary>Whether all elements along dim are not zero.</summary>
    public static Tensor all(Tensor input, long dim, bool keepdim = false) =>
        input.all(dim, keepdim);
}
