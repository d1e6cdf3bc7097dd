using System.Numerics;
using System.Numerics.Tensors;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>A linear layer whose rows have a magnitude of their own: bias + (magnitude / norms) * (x Vt) with
    /// V = weight + scale * b a, whose rows' norms are given.</summary>
    /// <remarks>Source: DoRA, arXiv:2402.09353, eq. 5 and section 4.3: norms carry no gradient.
    /// Shapes: x [.., D], weight [O, D], bias [O], a [R, D], b [O, R], magnitude and norms [O] gives [.., O]. Types: a,
    /// b, magnitude and norms may be float32 beside reduced x and weight. A row whose norm is zero has factor 1 and no
    /// gradient of its magnitude. Gradient: to x, bias, a, b and magnitude, never to weight; first derivatives only.
    /// Errors: <see cref="ArgumentException"/> when shapes do not meet.</remarks>
    public static Tensor dora_linear(
        Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b, Tensor magnitude, Tensor norms, double scale)
    {
        LinearChecks.Check(x, weight, bias, a, b, null, null, null);
        foreach (var (name, rows) in new[] { ("magnitude", magnitude), ("norms", norms) })
        {
            if (rows.dim() != 1 || rows.size(0) != weight.size(0))
                throw new ArgumentException(
                    $"{name} {Shapes.Of(rows)} does not meet weight {Shapes.Of(weight)}; {name} is [O]");
        }

        return LinearKernel.Serves(x)
            ? new DoraFunction(scale).Apply(x, weight, bias, a, b, magnitude, norms)
            : Composed.dora_linear(x, weight, bias, a, b, magnitude, norms, scale);
    }

    /// <summary>The norms of the rows of weight + scale * b a, without that matrix: ‖w + s b a‖² = ‖w‖² + 2 s ⟨w at, b⟩
    /// + s² b (a at) bt row by row.</summary>
    /// <remarks>Shapes: weight [O, D], squares [O] (of the weight's rows), a [R, D], b [O, R] gives [O] in the type of
    /// squares: float32, or float64 of such a weight. Gradient: none.</remarks>
    public static Tensor row_norms(Tensor weight, Tensor squares, Tensor a, Tensor b, double scale)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var (down, up) = (a.to(squares.dtype), b.to(squares.dtype));
        var cross = squares.dtype == ScalarType.Float64
            ? weight.mm(down.t()) : router_scores(weight, down);                                         // [O, R]
        var inner = (cross * (2 * scale)).add_(up.mm(down.mm(down.t())), scale * scale);
        return (squares + (up * inner).sum(1)).clamp_(min: 0).sqrt_().MoveToOuterDisposeScope();
    }

    /// <summary>The squared norms of a weight's rows.</summary>
    /// <remarks>Shapes: [O, D] → [O] float32, or float64 of such a weight. Gradient: none.</remarks>
    public static Tensor row_squares(Tensor weight)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var wide = weight.As(weight.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32);
        return (wide * wide).sum(1).MoveToOuterDisposeScope();
    }
}

/// <summary>A linear layer with magnitudes on the CPU; inputs x, weight, bias, a, b, magnitude, norms.</summary>
internal sealed class DoraFunction(double scale) : AutogradFunction
{
    private const int X = 0, Weight = 1, Bias = 2, A = 3, B = 4, Magnitude = 5, Norms = 6, Count = 7;
    private long[] _shape = [];
    private StackedExperts _products = null!;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight, a, b) = (inputs[X]!, inputs[Weight]!, inputs[A]!, inputs[B]!);
        var type = LinearKernel.ProductType(x.dtype);
        var kernel = LinearKernel.For(type);
        _shape = x.shape;
        var rows = LinearTensors.Rows(x, type);
        _products = new StackedExperts(
            new(rows.size(0), rows.size(1), weight.size(0), a.size(0), 1, scale), kernel);
        var added = _products.Forward(rows, a, b, null, out var h);
        var factors = FactorsOf(inputs[Magnitude]!, inputs[Norms]!).As(kernel.SumType).Dense();
        var y = torch.empty([.. _shape[..^1], weight.size(0)], type);
        // The output may be changed in place where it is used, so that what backward needs is kept beside it.
        var direction = Needs(Magnitude) ? torch.empty([rows.size(0), weight.size(0)], type) : null;
        kernel.Forward(
            rows, LinearTensors.Dense(weight, type), inputs[Bias]?.As(kernel.SumType), added, y,
            new(factors, direction));
        Save(Needs(A) ? x : null, weight, a, b, factors, inputs[Norms], Needs(B) ? h : null, direction);
        return [y.As(x.dtype)];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var result = new Tensor?[Count];
        if (gradients[0] is null)
            return result;
        var (x, weight, a, b, factors, h) = (saved[0], saved[1]!, saved[2]!, saved[3]!, saved[4]!, saved[6]);
        var type = LinearKernel.ProductType(weight.dtype);
        var kernel = LinearKernel.For(type);
        var dy = LinearTensors.Rows(gradients[0]!, type);
        var (dz, products) = RowScaling.Of(dy, factors, saved[7]);
        if (Needs(X) || Needs(A) || Needs(B))
        {
            var found = _products.Backward(
                dz, Needs(A) ? LinearTensors.Rows(x!, type) : null, a, b, null, h, Needs(B), false);
            result[A] = Leave(a, found.A?.As(a.dtype));
            result[B] = Leave(b, found.B?.As(b.dtype));
            if (Needs(X))
                result[X] = LinearTensors.InputGradient(
                    SumSoFar(X), dz, weight, found.Input, _shape, weight.dtype);
        }

        if (Needs(Bias))
            result[Bias] = dy.sum(0, type: kernel.SumType).As(weight.dtype);
        if (Needs(Magnitude))
            result[Magnitude] = OverNorms(products!, saved[5]!);
        return result;
    }

    /// <summary>magnitude / norms, 1 where a norm is zero.</summary>
    public static Tensor FactorsOf(Tensor magnitude, Tensor norms)
    {
        var isZero = norms.eq(0);
        var divisors = norms + isZero.to(norms.dtype);
        return torch.where(isZero, torch.ones_like(norms), magnitude.to(norms.dtype) / divisors);
    }

    // 0 where a norm is zero.
    private static Tensor OverNorms(Tensor products, Tensor norms) =>
        torch.where(norms.eq(0), torch.zeros_like(products), products / norms.to(products.dtype)).As(norms.dtype);
}

/// <summary>What goes back through factors of columns.</summary>
internal static class RowScaling
{
    private const int FewestRows = 16; // a thread

    /// <summary>dy times factors, and Σ dy z over rows where z is given; one pass over both.</summary>
    /// <remarks>Shapes: dy and z [N, O], factors [O] → [N, O] and [O].</remarks>
    public static (Tensor Scaled, Tensor? Products) Of(Tensor dy, Tensor factors, Tensor? z)
    {
        if (dy.dtype == factors.dtype)
            return dy.dtype == ScalarType.Float64 ? Run<double>(dy, factors, z) : Run<float>(dy, factors, z);
        var wide = dy.to(factors.dtype);
        return ((wide * factors).to(dy.dtype), z is null ? null : (wide * z).sum(0L));
    }

    private static unsafe (Tensor Scaled, Tensor? Products) Run<T>(Tensor dy, Tensor factors, Tensor? z)
        where T : unmanaged, INumber<T>
    {
        var (N, O) = (dy.size(0), dy.size(1));
        var scaled = torch.empty_like(dy);
        var products = z is null ? null : torch.empty([O], factors.dtype);
        var shares = new RowShares(N, FewestRows);
        using var parts = new Scratch<T>(shares.Count * O);
        var (d, f, goal, held, sums) = ((nint)TensorMemory.Of<T>(dy), (nint)TensorMemory.Of<T>(factors),
            (nint)TensorMemory.Of<T>(scaled), (nint)TensorMemory.Of<T>(z), (nint)parts.Pointer);
        shares.Run((share, first, end) =>
        {
            var factor = new ReadOnlySpan<T>((T*)f, (int)O);
            var sum = new Span<T>((T*)sums + share * O, (int)O);
            sum.Clear();
            for (var row = first; row < end; row++)
            {
                var slopes = new ReadOnlySpan<T>((T*)d + row * O, (int)O);
                if (held != 0)
                    TensorPrimitives.MultiplyAdd(slopes, new ReadOnlySpan<T>((T*)held + row * O, (int)O), sum, sum);
                TensorPrimitives.Multiply(slopes, factor, new Span<T>((T*)goal + row * O, (int)O));
            }
        });
        if (products is not null)
            shares.Sum(parts.Pointer, O, TensorMemory.Of<T>(products));
        return (scaled, products);
    }
}

/// <summary>Norms of the rows of W + s B A, computed again when A or B has changed: what DoRA divides by.</summary>
public sealed class DirectionNorms : IDisposable
{
    private Tensor? _squares; // of the frozen weight's rows
    private (Tensor Norms, long DownVersion, long UpVersion)? _held;

    /// <summary>The norms; they stay this object's.</summary>
    /// <remarks>Shapes: weight [O, D], down [R, D], up [O, R] → [O]. Gradient: none, as the paper has it.</remarks>
    public Tensor Of(Tensor weight, Parameter down, Parameter up, double scale)
    {
        var (a, b) = (down.Version(), up.Version());
        if (_held is { } held && held.DownVersion == a && held.UpVersion == b)
            return held.Norms;
        _held?.Norms.Dispose();
        _squares ??= Fused.row_squares(weight).DetachFromDisposeScope();
        var norms = Fused.row_norms(weight, _squares, down, up, scale).DetachFromDisposeScope();
        _held = (norms, a, b);
        return norms;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _squares?.Dispose();
        _held?.Norms.Dispose();
    }
}

internal static partial class Composed
{
    public static Tensor dora_linear(
        Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b, Tensor magnitude, Tensor norms, double scale)
    {
        using var scope = torch.NewDisposeScope();
        var factors = DoraFunction.FactorsOf(magnitude, norms.detach());
        // In the factors' type: those near 1, as all are at first, would be 1 in a reduced one.
        var y = lora_mixture_linear(x, weight, null, a, b, null, scale, null) * factors;
        return (bias is null ? y : y + bias).to(x.dtype).MoveToOuterDisposeScope();
    }
}
