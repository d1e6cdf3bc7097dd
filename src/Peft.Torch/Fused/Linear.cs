using System.Numerics;
using System.Numerics.Tensors;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>x Wt + bias: a projection of the base model.</summary>
    /// <remarks>Shapes: x [.., D], weight [O, D], bias [O] gives [.., O]. Gradient: to every input that requires one.
    /// Errors: <see cref="ArgumentException"/> when shapes or types do not meet.</remarks>
    public static Tensor linear(Tensor x, Tensor weight, Tensor? bias = null)
    {
        LinearChecks.Check(x, weight, bias);
        return LinearKernel.Serves(x) ? new LinearFunction().Apply(x, weight, bias) : Composed.linear(x, weight, bias);
    }
}

/// <summary>Refuses products of matrices that do not meet.</summary>
internal static class LinearChecks
{
    public static void Check(Tensor x, Tensor weight, Tensor? bias)
    {
        if (x.dim() < 1 || weight.dim() != 2 || x.size(-1) != weight.size(1))
            throw new ArgumentException(
                $"x {Shapes.Of(x)} does not meet weight {Shapes.Of(weight)}; x is [..., D] and weight [O, D]");
        if (bias is not null && (bias.dim() != 1 || bias.size(0) != weight.size(0)))
            throw new ArgumentException(
                $"bias {Shapes.Of(bias)} does not meet weight {Shapes.Of(weight)}; bias is [O]");
        if (x.dtype != weight.dtype || (bias is not null && bias.dtype != x.dtype))
            throw new ArgumentException(
                $"x {x.dtype}, weight {weight.dtype} and bias {bias?.dtype ?? x.dtype} differ in type");
    }

    public static void Check(
        Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b, Tensor? gates, Tensor? loraInput,
        Tensor? selected)
    {
        Check(x, weight, bias);
        Check(x, a, b, gates, selected);
        if (b.size(0) != weight.size(0))
            throw new ArgumentException($"b {Shapes.Of(b)} does not meet weight {Shapes.Of(weight)}; b is [O, C]");
        if (loraInput is not null && (!loraInput.shape.AsSpan().SequenceEqual(x.shape) || loraInput.dtype != x.dtype))
            throw new ArgumentException(
                $"loraInput differs from x {Shapes.Of(x)} in shape or type; it is x after dropout");
    }

    public static void Check(Tensor x, Tensor a, Tensor b, Tensor? gates, Tensor? selected)
    {
        if (x.dim() < 1 || a.dim() != 2 || a.size(1) != x.size(-1))
            throw new ArgumentException($"a {Shapes.Of(a)} does not meet x {Shapes.Of(x)}; a is [C, D]");
        if (b.dim() != 2 || (b.size(1) != a.size(0) && b.size(1) != a.size(0) * (gates?.size(-1) ?? 1)))
            throw new ArgumentException($"b {Shapes.Of(b)} does not meet a {Shapes.Of(a)}; b is [O, C]");
        if (selected is not null && (gates is null || selected.dtype != ScalarType.Bool
            || !selected.shape.AsSpan().SequenceEqual(gates.shape)))
        {
            throw new ArgumentException($"selected {selected.dtype} {Shapes.Of(selected)} does not meet gates "
                + $"{(gates is null ? "(none)" : Shapes.Of(gates))}; it is bool like gates");
        }
        if (gates is null)
            return;
        if (gates.dim() < 1 || gates.size(-1) < 1 || b.size(1) % gates.size(-1) != 0)
        {
            throw new ArgumentException($"gates {Shapes.Of(gates)} do not divide the {b.size(1)} columns of b; "
                + "gates are [N, G] with C a multiple of G");
        }
        if (gates.numel() / gates.size(-1) != x.numel() / Math.Max(1, x.size(-1)))
            throw new ArgumentException(
                $"gates {Shapes.Of(gates)} do not have one row for each row of x {Shapes.Of(x)}");
    }
}

/// <summary>A linear layer on the CPU; inputs x, weight, bias. Only what backward needs is kept: of a frozen layer its
/// weight, uncopied.</summary>
internal sealed class LinearFunction : AutogradFunction
{
    private long[] _shape = [];

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight, bias) = (inputs[0]!, inputs[1]!, inputs[2]);
        var type = LinearKernel.ProductType(x.dtype);
        var kernel = LinearKernel.For(type);
        _shape = x.shape;
        var rows = LinearTensors.Rows(x, type);
        var y = torch.empty([.. _shape[..^1], weight.size(0)], type);
        kernel.Forward(rows, LinearTensors.Dense(weight, type), bias?.As(kernel.SumType), null, y);
        Save(Needs(1) ? x : null, weight);
        return [y.As(x.dtype)];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var (gradient, x, weight) = (gradients[0], saved[0], saved[1]!);
        if (gradient is null)
            return [null, null, null];
        var type = LinearKernel.ProductType(weight.dtype);
        var kernel = LinearKernel.For(type);
        var dy = LinearTensors.Rows(gradient, type);
        var dx = Needs(0) ? LinearTensors.InputGradient(SumSoFar(0), dy, weight, null, _shape, weight.dtype) : null;
        var dw = Needs(1) ? LinearTensors.WeightGradient(kernel, dy, LinearTensors.Rows(x!, type), weight) : null;
        return [dx, Leave(weight, dw), Needs(2) ? dy.sum(0, type: kernel.SumType).As(weight.dtype) : null];
    }
}

/// <summary>Tensors as kernels of linear layers take them.</summary>
internal static class LinearTensors
{
    /// <summary>[.., D] as dense rows [N, D].</summary>
    public static Tensor Rows(Tensor x, ScalarType type) => Dense(x.reshape(-1, x.size(-1)), type);

    public static Tensor Dense(Tensor tensor, ScalarType type) =>
        tensor.dtype == ScalarType.Float32 && type == ScalarType.BFloat16 ? Narrowed(tensor.Dense())
        : tensor.As(type).Dense();

    // libtorch's own conversion takes ten times as long.
    private static unsafe Tensor Narrowed(Tensor wide)
    {
        var narrow = torch.empty(wide.shape, ScalarType.BFloat16);
        var (from, to) = ((nint)TensorMemory.Of<float>(wide), (nint)TensorMemory.Of<ushort>(narrow));
        Elements<float>.ForRows(wide.numel(), 1, (begin, end) =>
            VectorMath.Store((float*)from + begin, end - begin, (ushort*)to + begin));
        return narrow;
    }

    /// <summary>dy W + added, together with what others made of this gradient.</summary>
    /// <param name="sum">That, or null.</param>
    /// <param name="dy">[N, O], as products take it.</param>
    /// <param name="weight">[O, D], or null where there is only what is added.</param>
    /// <param name="added">What a mixture adds, or null.</param>
    /// <param name="shape">[.., D].</param>
    /// <param name="type">Of the gradient.</param>
    public static Tensor InputGradient(
        Tensor? sum, Tensor dy, Tensor? weight, LowRankTerm? added, long[] shape, ScalarType type)
    {
        var kernel = LinearKernel.For(dy.dtype);
        var addsThere = sum is not null && sum.dtype == dy.dtype && sum.is_contiguous();
        var dx = addsThere ? sum! : torch.empty(shape, dy.dtype);
        if (weight is null)
            kernel.Fill(added!.Value, dx, addsThere);
        else
            kernel.Backward(dy, Dense(weight, dy.dtype), added, dx, addsThere);
        return addsThere || sum is null ? dx.As(type) : sum.add_(dx);
    }

    /// <summary>dyt x, in the weight's type.</summary>
    public static Tensor WeightGradient(ILinearKernel kernel, Tensor dy, Tensor x, Tensor weight)
    {
        var dw = torch.empty(weight.shape, x.dtype);
        kernel.Product(dy, true, x, dw);
        return dw.As(weight.dtype);
    }
}

internal static partial class Composed
{
    public static Tensor linear(Tensor x, Tensor weight, Tensor? bias) => torch.nn.functional.linear(x, weight, bias);
}

/// <summary>What a linear layer with or without a mixture computes over tensors of one type; all of them dense, on the
/// CPU.</summary>
internal interface ILinearKernel
{
    /// <summary>What sums are in.</summary>
    ScalarType SumType { get; }

    /// <summary>y [N, O] = factors * (x Wt + added) + bias; factors are 1 where they are not given.</summary>
    void Forward(Tensor x, Tensor weight, Tensor? bias, LowRankTerm? added, Tensor y, ColumnFactors? factors = null);

    /// <summary>dx [N, D] = dy W + added, and where it sums what dx holds.</summary>
    void Backward(Tensor dy, Tensor weight, LowRankTerm? added, Tensor dx, bool sums = false);

    /// <summary>target [.., columns] = term, and where it sums what target holds.</summary>
    void Fill(LowRankTerm term, Tensor target, bool sums = false);

    /// <summary>target [m, n] = op(left) right.</summary>
    void Product(Tensor left, bool transposeLeft, Tensor right, Tensor target);

    /// <summary>See <see cref="LowRankKernel{T, W}.Down"/>.</summary>
    void Down(LowRankShape shape, Tensor x, Tensor a, Tensor? gates, Tensor h, Tensor gated);

    /// <summary>See <see cref="LowRankKernel{T, W}.Gate(W*, W*, T*)"/>.</summary>
    void Gate(LowRankShape shape, Tensor h, Tensor? gates, Tensor gated);

    /// <summary>See <see cref="LowRankKernel{T, W}.Backward"/>.</summary>
    void LowRankBackward(
        LowRankShape shape, Tensor dy, Tensor b, Tensor? gates, Tensor? h, Tensor? gated, Tensor? x, Tensor dh,
        Tensor? dgates, Tensor? db, Tensor? da);
}

/// <summary>What the columns of a product are multiplied by.</summary>
/// <param name="Factors">[O], of the type of sums.</param>
/// <param name="Before">[N, O], takes the product as it was before; null: nothing does.</param>
internal readonly record struct ColumnFactors(Tensor Factors, Tensor? Before);

/// <summary>Kernels of linear layers by type.</summary>
internal static class LinearKernel
{
    private static readonly LinearKernel<ushort, float> Bfloat16 = new(ScalarType.Float32);
    private static readonly LinearKernel<float, float> Single = new(ScalarType.Float32);
    private static readonly LinearKernel<double, double> Double = new(ScalarType.Float64);

    /// <summary>Whether there is a kernel for this tensor. One row of bfloat16 is libtorch's own where the processor
    /// has no products of that type: it reads the weight at the memory's speed, MKL at a third.</summary>
    public static bool Serves(Tensor x) =>
        Kernels.Serve(x) && x.numel() > 0
        && (x.dtype != ScalarType.BFloat16 || Gemm.HasFastBFloat16 || x.numel() > x.size(-1));

    /// <summary>The type that products of a tensor are computed in.</summary>
    public static ScalarType ProductType(ScalarType type) => type == ScalarType.Float16 ? ScalarType.Float32 : type;

    /// <summary>The kernel of a product type.</summary>
    public static ILinearKernel For(ScalarType type) => type switch
    {
        ScalarType.BFloat16 => Bfloat16,
        ScalarType.Float64 => Double,
        _ => Single,
    };
}

/// <inheritdoc cref="ILinearKernel"/>
internal sealed unsafe class LinearKernel<T, W>(ScalarType sumType) : ILinearKernel
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    public ScalarType SumType => sumType;

    public void Forward(
        Tensor x, Tensor weight, Tensor? bias, LowRankTerm? added, Tensor y, ColumnFactors? factors = null)
    {
        var (N, D, O) = (x.size(0), x.size(1), weight.size(0));
        Tiles<T, W>.Product(
            N, O, new(Of(x), D, false, Of(weight), D, true, D), Times(factors, O, Adding(added, O)), Sums(bias), Of(y));
    }

    // What follows the adding: the tile is in the cache.
    private static AddToTile<W>? Times(ColumnFactors? factors, long columns, AddToTile<W>? add)
    {
        if (factors is not { } given)
            return add;
        var (each, before) = ((nint)Sums(given.Factors), (nint)Of(given.Before));
        return (i, j, height, width, tile, step) =>
        {
            add?.Invoke(i, j, height, width, tile, step);
            var own = new ReadOnlySpan<W>((W*)each + j, (int)width);
            for (long row = 0; row < height; row++)
            {
                var values = new Span<W>(tile + row * step, (int)width);
                var goal = (T*)before + (i + row) * columns + j;
                if (before != 0 && typeof(T) == typeof(W))
                    values.CopyTo(new Span<W>(goal, (int)width));
                else if (before != 0)
                    VectorMath.Store(tile + row * step, width, goal);
                TensorPrimitives.Multiply(values, own, values);
            }
        };
    }

    public void Backward(Tensor dy, Tensor weight, LowRankTerm? added, Tensor dx, bool sums = false)
    {
        var (N, D, O) = (dy.size(0), weight.size(1), weight.size(0));
        Tiles<T, W>.Product(
            N, D, new(Of(dy), O, false, Of(weight), D, false, O), Adding(added, D), null, Of(dx), sums);
    }

    public void Fill(LowRankTerm term, Tensor target, bool sums = false)
    {
        var columns = target.size(-1);
        Tiles<T, W>.Product(term.Low.size(0), columns, null, Adding(term, columns), null, Of(target), sums);
    }

    public void Product(Tensor left, bool transposeLeft, Tensor right, Tensor target) =>
        Tiles<T, W>.Product(target.size(0), target.size(1),
            new(Of(left), left.size(1), transposeLeft, Of(right), right.size(1), false, right.size(0)), null, null,
            Of(target));

    // How a term is added to a tile of a product of so many columns.
    private static AddToTile<W>? Adding(LowRankTerm? term, long columns)
    {
        if (term is not { } held)
            return null;
        var ranks = held.Low.size(1);
        if (held.Groups is { } groups)
        {
            var (kernel, low, factor) = (new GroupedKernel<T>(groups), (nint)Of(held.Low), (nint)Of(held.Factor));
            return held.Transposed
                ? (i, j, height, width, tile, step) =>
                    kernel.UpFew((float*)low, (float*)factor, i, j, height, width, (float*)tile, step)
                : (i, j, height, width, tile, step) =>
                    kernel.Up((float*)low, (float*)factor, columns, i, j, height, width, (float*)tile, step);
        }

        var factors = new Factors<T>(Of(held.Low), ranks, false, Of(held.Factor),
            held.Transposed ? ranks : columns, held.Transposed, ranks);
        return (i, j, height, width, tile, step) =>
            Tiles<T, W>.Multiply(factors, i, j, height, width, W.One, tile, step);
    }

    public void Down(LowRankShape shape, Tensor x, Tensor a, Tensor? gates, Tensor h, Tensor gated) =>
        Kernel(shape).Down(Of(x), Of(a), Sums(gates), Sums(h), Of(gated));

    public void Gate(LowRankShape shape, Tensor h, Tensor? gates, Tensor gated) =>
        Kernel(shape).Gate(Sums(h), Sums(gates), Of(gated));

    public void LowRankBackward(
        LowRankShape shape, Tensor dy, Tensor b, Tensor? gates, Tensor? h, Tensor? gated, Tensor? x, Tensor dh,
        Tensor? dgates, Tensor? db, Tensor? da) =>
        Kernel(shape)
        .Backward(Of(dy), Of(b), Sums(gates), Sums(h), Of(gated), Of(x), Of(dh), Sums(dgates), Sums(db), Sums(da));

    private static LowRankKernel<T, W> Kernel(LowRankShape shape) =>
        new(shape.Rows, shape.Inputs, shape.Outputs, shape.Ranks, shape.Gates, W.CreateTruncating(shape.Scale));

    private static T* Of(Tensor? tensor) => TensorMemory.Of<T>(tensor);

    private static W* Sums(Tensor? tensor) => TensorMemory.Of<W>(tensor);
}
