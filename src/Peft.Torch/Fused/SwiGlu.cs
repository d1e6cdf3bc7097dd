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
    protected override bool IsRepeatable => true;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        Save(inputs[0], inputs[1]);
        return [Repeat(inputs)];
    }

    protected override Tensor Repeat(Tensor?[] saved)
    {
        var (gate, up) = (saved[0]!.Dense(), saved[1]!.Dense());
        var result = torch.empty_like(gate);
        if (gate.dtype == ScalarType.Float32) SwiGluKernel<float>.Forward(gate, up, result);
        else SwiGluKernel<ushort>.Forward(gate, up, result);
        return result;
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
        Elements<T>.ForRows(
            count, 1, (first, end) => ForwardPart(gate + first, up + first, result + first, end - first));

    public static void Backward(Tensor slopes, Tensor gate, Tensor up, Tensor dgate, Tensor dup)
    {
        T* d = TensorMemory.Of<T>(slopes), g = TensorMemory.Of<T>(gate), u = TensorMemory.Of<T>(up),
            dg = TensorMemory.Of<T>(dgate), du = TensorMemory.Of<T>(dup);
        Elements<T>.ForRows(gate.numel(), 1, (first, end) =>
            BackwardPart(d + first, g + first, u + first, dg + first, du + first, end - first));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ForwardPart(T* gate, T* up, T* result, long n)
    {
        long j = 0;
        for (; j + Step <= n; j += Step)
            Activate<Whole>(gate + j, up + j, result + j, Step);
        if (j < n)
            Activate<Last>(gate + j, up + j, result + j, n - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Activate<P>(T* gate, T* up, T* result, long left)
        where P : IPart
    {
        var x = P.Load(gate, left);
        P.Store(x * Sigmoid(x) * P.Load(up, left), result, left);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void BackwardPart(T* dy, T* gate, T* up, T* dgate, T* dup, long n)
    {
        long j = 0;
        for (; j + Step <= n; j += Step)
            Slopes<Whole>(dy + j, gate + j, up + j, dgate + j, dup + j, Step);
        if (j < n)
            Slopes<Last>(dy + j, gate + j, up + j, dgate + j, dup + j, n - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Slopes<P>(T* slopes, T* gate, T* up, T* dgate, T* dup, long left)
        where P : IPart
    {
        var (dy, x) = (P.Load(slopes, left), P.Load(gate, left));
        var s = Sigmoid(x);
        var activation = x * s;
        P.Store(dy * activation, dup, left);
        var slope = s + activation * (Vector512<float>.One - s);
        P.Store(dy * P.Load(up, left) * slope, dgate, left);
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
