using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>silu(gate) * up. Shapes: both alike. Gradient: to both, from the inputs alone; first derivatives only.
    /// Errors: <see cref="ArgumentException"/> when shapes or types differ.</summary>
    public static Tensor swiglu(Tensor gate, Tensor up)
    {
        if (!gate.shape.AsSpan().SequenceEqual(up.shape) || gate.dtype != up.dtype)
        {
            throw new ArgumentException(
                $"gate {Shapes.Of(gate)} {gate.dtype} and up {Shapes.Of(up)} {up.dtype} differ; "
                + "they have one shape and type");
        }

        return Kernels.ServeRows(gate) ? new SwiGluFunction().Apply(gate, up) : Composed.swiglu(gate, up);
    }
}

/// <summary>SwiGLU over the memory of CPU tensors; inputs gate, up.</summary>
internal sealed unsafe class SwiGluFunction : AutogradFunction
{
    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        Save(inputs[0], inputs[1]);
        var (gate, up) = (inputs[0]!.Dense(), inputs[1]!.Dense());
        var result = torch.empty_like(gate);
        if (gate.dtype == ScalarType.Float32) SwiGluKernel<float>.Forward(gate, up, result);
        else SwiGluKernel<ushort>.Forward(gate, up, result);
        return [result];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        if (gradients[0] is null) return [null, null];
        var (gate, up, slopes) = (saved[0]!.Dense(), saved[1]!.Dense(), gradients[0]!.Dense());
        var (dgate, dup) = (torch.empty_like(gate), torch.empty_like(up));
        if (gate.dtype == ScalarType.Float32) SwiGluKernel<float>.Backward(slopes, gate, up, dgate, dup);
        else SwiGluKernel<ushort>.Backward(slopes, gate, up, dgate, dup);
        return [dgate, dup];
    }
}

/// <summary>SwiGLU of dense tensors, element by element.</summary>
/// <typeparam name="T">float, or ushort holding bfloat16.</typeparam>
internal static unsafe class SwiGluKernel<T>
    where T : unmanaged
{
    private const int Step = Elements<T>.Count;

    public static void Forward(Tensor gate, Tensor up, Tensor result) => Forward(
        TensorMemory.Of<T>(gate), TensorMemory.Of<T>(up), TensorMemory.Of<T>(result), gate.numel());

    // The result may lie where one of the others does.
    public static void Forward(T* gate, T* up, T* result, long count) =>
        Elements<T>.ForRows(count, 1, [MethodImpl(MethodImplOptions.AggressiveOptimization)] (first, end) =>
        {
            for (var j = first; j < end; j += Step)
            {
                var x = Elements<T>.Load(gate + j, end - j);
                Elements<T>.Store(x * Sigmoid(x) * Elements<T>.Load(up + j, end - j), result + j, end - j);
            }
        });

    public static void Backward(Tensor slopes, Tensor gate, Tensor up, Tensor dgate, Tensor dup)
    {
        var (d, g, u) =
            ((nint)TensorMemory.Of<T>(slopes), (nint)TensorMemory.Of<T>(gate), (nint)TensorMemory.Of<T>(up));
        var (dg, du) = ((nint)TensorMemory.Of<T>(dgate), (nint)TensorMemory.Of<T>(dup));
        Elements<T>.ForRows(gate.numel(), 1, [MethodImpl(MethodImplOptions.AggressiveOptimization)] (first, end) =>
        {
            for (var j = first; j < end; j += Step)
            {
                var (dy, x) = (Elements<T>.Load((T*)d + j, end - j), Elements<T>.Load((T*)g + j, end - j));
                var s = Sigmoid(x);
                var activation = x * s;
                Elements<T>.Store(dy * activation, (T*)du + j, end - j);
                var slope = s + activation * (Vector512<float>.One - s);
                Elements<T>.Store(dy * Elements<T>.Load((T*)u + j, end - j) * slope, (T*)dg + j, end - j);
            }
        });
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Sigmoid(Vector512<float> x) =>
        Vector512<float>.One / (Vector512<float>.One + VectorMath.Exp(-x));
}

internal static partial class Composed
{
    public static Tensor swiglu(Tensor gate, Tensor up)
    {
        using var activation = torch.nn.functional.silu(gate);
        return activation * up;
    }
}
