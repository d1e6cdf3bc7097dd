using System.Numerics;
using System.Numerics.Tensors;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>How far each slice of a projection is from its share of the whole: <c>mean((x_e W_et - share *
    /// Σ x_e W_et)²)</c> over the outputs, x and W cut into slices of their inner numbers.</summary>
    /// <remarks>Shapes: x [.., F] of N rows, weight [O, F], F a multiple of slices E, gives [N, E] float32. Gradient:
    /// none. Errors: <see cref="ArgumentException"/> when shapes or types do not meet.</remarks>
    public static Tensor slice_errors(Tensor x, Tensor weight, int slices, double share)
    {
        LinearChecks.Check(x, weight, null);
        if (slices < 1 || x.size(-1) % slices != 0)
            throw new ArgumentException($"{slices} slices do not divide the {x.size(-1)} inner numbers of x");
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        if (!LinearKernel.Serves(x))
            return Composed.slice_errors(x, weight, slices, share).MoveToOuterDisposeScope();
        var type = LinearKernel.ProductType(x.dtype);
        var (left, right) = (LinearTensors.Rows(x, type), LinearTensors.Dense(weight, type));
        var errors = torch.empty([left.size(0), slices], LinearKernel.For(type).SumType);
        switch (type)
        {
            case ScalarType.BFloat16: SliceErrorsKernel<ushort, float>.Run(left, right, share, errors); break;
            case ScalarType.Float64: SliceErrorsKernel<double, double>.Run(left, right, share, errors); break;
            default: SliceErrorsKernel<float, float>.Run(left, right, share, errors); break;
        }
        return errors.to(ScalarType.Float32).MoveToOuterDisposeScope();
    }
}

/// <summary>The errors a chunk of rows at a time, so that the slices' products meet their sum in the cache.</summary>
/// <typeparam name="T">What products take: float, double, or ushort holding bfloat16.</typeparam>
/// <typeparam name="W">What sums are in: float, or double for double.</typeparam>
internal static unsafe class SliceErrorsKernel<T, W>
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    private const long Numbers = 3 << 18; // of a chunk's products: 3 MB of float

    public static void Run(Tensor x, Tensor weight, double share, Tensor errors)
    {
        var (rows, inner, outputs, slices) = (x.size(0), x.size(1), weight.size(0), errors.size(1));
        var width = inner / slices;
        var chunk = Math.Clamp(Numbers / (slices * outputs), 1, rows);
        var (left, right) = ((nint)TensorMemory.Of<T>(x), (nint)TensorMemory.Of<T>(weight));
        var (target, factor) = ((nint)TensorMemory.Of<W>(errors), W.CreateChecked(share));
        new RowShares(rows, Math.Min(chunk, 64)).Run((_, begin, end) =>
        {
            using var products = new Scratch<W>((slices * chunk + 1) * outputs);
            var whole = new Span<W>(products.Pointer + slices * chunk * outputs, (int)outputs);
            for (var i = begin; i < end; i += chunk)
            {
                var count = Math.Min(chunk, end - i);
                for (long slice = 0; slice < slices; slice++)
                {
                    Gemm.Multiply(false, true, count, outputs, width, W.One,
                        (T*)left + i * inner + slice * width, inner, (T*)right + slice * width, inner, W.Zero,
                        products.Pointer + slice * outputs, slices * outputs);
                }
                for (long row = 0; row < count; row++)
                {
                    Measure(products.Pointer + row * slices * outputs, whole, factor,
                        new Span<W>((W*)target + (i + row) * slices, (int)slices));
                }
            }
        });
    }

    // The products of one row, slice by slice; they become what they differ by.
    private static void Measure(W* products, Span<W> whole, W share, Span<W> errors)
    {
        whole.Clear();
        for (var slice = 0; slice < errors.Length; slice++)
            TensorPrimitives.Add(whole, Of(slice, whole.Length), whole);
        TensorPrimitives.Multiply(whole, share, whole);
        for (var slice = 0; slice < errors.Length; slice++)
        {
            var own = Of(slice, whole.Length);
            TensorPrimitives.Subtract(own, whole, own);
            errors[slice] = TensorPrimitives.SumOfSquares<W>(own) / W.CreateChecked(whole.Length);
        }

        Span<W> Of(int slice, int count) => new(products + (long)slice * count, count);
    }
}

internal static partial class Composed
{
    public static Tensor slice_errors(Tensor x, Tensor weight, int slices, double share)
    {
        var (rows, width) = (x.reshape(-1, x.size(-1)), x.size(-1) / slices);
        Tensor Of(Tensor whole, int slice) => whole.narrow(1, slice * width, width);
        var outputs = Enumerable.Range(0, slices)                                              // E times [N, O]
            .Select(slice => torch.nn.functional.linear(Of(rows, slice), Of(weight, slice)).to(ScalarType.Float32))
            .ToList();
        var whole = outputs.Aggregate((sum, one) => sum + one) * share;
        return torch.stack([.. outputs.Select(one => (one - whole).square().mean([1L]))], 1);
    }
}
