using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>silu(gate) * up. Shapes: both alike. Gradient: to both, from the inputs alone; first derivatives only.
    /// Errors: <see cref="ArgumentException"/> when shapes or types differ.</summary>
    public static Tensor swiglu(Tensor gate, Tensor up) => Gated<Silu>(gate, up);

    /// <summary>gelu(gate) * up, with the tanh form of GELU. Shapes, gradient and errors as
    /// <see cref="swiglu"/>.</summary>
    public static Tensor geglu_tanh(Tensor gate, Tensor up) => Gated<TanhGelu>(gate, up);

    /// <summary>The tanh form of GELU. Shapes: any. Gradient: from the input alone; first derivatives only.</summary>
    public static Tensor gelu_tanh(Tensor x) =>
        Kernels.ServeRows(x) ? new SigmoidUnitFunction<TanhGelu>().Apply(x, null) : TanhGelu.Compose(x);

    private static Tensor Gated<U>(Tensor gate, Tensor up)
        where U : ISigmoidUnit
    {
        if (!gate.shape.AsSpan().SequenceEqual(up.shape) || gate.dtype != up.dtype)
        {
            throw new ArgumentException(
                $"gate {Shapes.Of(gate)} {gate.dtype} and up {Shapes.Of(up)} {up.dtype} differ; "
                + "they have one shape and type");
        }

        if (Kernels.ServeRows(gate))
            return new SigmoidUnitFunction<U>().Apply(gate, up);
        using var activation = U.Compose(gate);
        return activation * up;
    }
}

/// <summary>An activation of the form <c>x sigmoid(z(x))</c>.</summary>
internal interface ISigmoidUnit
{
    /// <summary>z and its derivative.</summary>
    static abstract (Vector512<float> Z, Vector512<float> Slope) At(Vector512<float> x);

    /// <summary>The activation, of libtorch's operations.</summary>
    static abstract Tensor Compose(Tensor x);
}

/// <summary>SiLU: z is x.</summary>
internal readonly struct Silu : ISigmoidUnit
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (Vector512<float> Z, Vector512<float> Slope) At(Vector512<float> x) => (x, Vector512<float>.One);

    public static Tensor Compose(Tensor x) => torch.nn.functional.silu(x);
}

/// <summary>GELU's tanh form: z is <c>2 sqrt(2/pi) (x + 0.044715 x³)</c>, as
/// <c>1 + tanh(u) = 2 sigmoid(2u)</c>.</summary>
/// <remarks>Source: Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2; float32 within, as the library's
/// own.</remarks>
internal readonly struct TanhGelu : ISigmoidUnit
{
    private const double Cubic = 0.044715;
    private static readonly double Root = Math.Sqrt(2 / Math.PI);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (Vector512<float> Z, Vector512<float> Slope) At(Vector512<float> x)
    {
        var (one, root) = (Vector512<float>.One, Vector512.Create((float)(2 * Root)));
        var square = x * x;
        return (
            root * x * (one + Vector512.Create((float)Cubic) * square),
            root * (one + Vector512.Create((float)(3 * Cubic)) * square));
    }

    public static Tensor Compose(Tensor x)
    {
        using var scope = torch.NewDisposeScope();
        var wide = x.dtype == ScalarType.Float64 ? x : x.to(ScalarType.Float32);
        var inner = (wide + (Cubic * wide.pow(3))) * Root;
        return (0.5 * wide * (inner.tanh() + 1)).to(x.dtype).MoveToOuterDisposeScope();
    }
}

/// <summary>A sigmoid unit over the memory of CPU tensors; inputs gate and, where it is gated, up.</summary>
internal sealed unsafe class SigmoidUnitFunction<U> : AutogradFunction
    where U : ISigmoidUnit
{
    protected override bool IsRepeatable => true;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        Save(inputs[0], inputs[1]);
        return [Repeat(inputs)];
    }

    protected override Tensor Repeat(Tensor?[] saved)
    {
        var (gate, up) = (saved[0]!.Dense(), saved[1]?.Dense());
        var result = torch.empty_like(gate);
        if (gate.dtype == ScalarType.Float32) SigmoidUnitKernel<float, U>.Forward(gate, up, result);
        else SigmoidUnitKernel<ushort, U>.Forward(gate, up, result);
        return result;
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        if (gradients[0] is null) return [null, null];
        var (gate, up, slopes) = (saved[0]!.Dense(), saved[1]?.Dense(), gradients[0]!.Dense());
        var (dgate, dup) = (torch.empty_like(gate), up is null ? null : torch.empty_like(up));
        if (gate.dtype == ScalarType.Float32) SigmoidUnitKernel<float, U>.Backward(slopes, gate, up, dgate, dup);
        else SigmoidUnitKernel<ushort, U>.Backward(slopes, gate, up, dgate, dup);
        return [dgate, dup];
    }
}

/// <summary>A sigmoid unit of dense tensors, element by element; without a gate where up is null.</summary>
/// <typeparam name="T">float, or ushort holding bfloat16.</typeparam>
/// <typeparam name="U">The activation.</typeparam>
internal static unsafe class SigmoidUnitKernel<T, U>
    where T : unmanaged
    where U : ISigmoidUnit
{
    private const int Step = Elements<T>.Count;

    public static void Forward(Tensor gate, Tensor? up, Tensor result) =>
        Forward(TensorMemory.Of<T>(gate), TensorMemory.Of<T>(up), TensorMemory.Of<T>(result), gate.numel());

    // The result may lie where one of the others does.
    public static void Forward(T* gate, T* up, T* result, long count) =>
        Elements<T>.ForRows(count, 1, (first, end) => ForwardPart(
            gate + first, up is null ? null : up + first, result + first, end - first));

    public static void Backward(Tensor slopes, Tensor gate, Tensor? up, Tensor dgate, Tensor? dup)
    {
        T* d = TensorMemory.Of<T>(slopes), g = TensorMemory.Of<T>(gate), u = TensorMemory.Of<T>(up),
            dg = TensorMemory.Of<T>(dgate), du = TensorMemory.Of<T>(dup);
        Elements<T>.ForRows(gate.numel(), 1, (first, end) => BackwardPart(
            d + first, g + first, u is null ? null : u + first, dg + first, du is null ? null : du + first,
            end - first));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ForwardPart(T* gate, T* up, T* result, long n)
    {
        long j = 0;
        for (; j + Step <= n; j += Step)
            Activate<Whole>(gate + j, up is null ? null : up + j, result + j, Step);
        if (j < n)
            Activate<Last>(gate + j, up is null ? null : up + j, result + j, n - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Activate<P>(T* gate, T* up, T* result, long left)
        where P : IPart
    {
        var x = P.Load(gate, left);
        var y = x * Sigmoid(U.At(x).Z);
        P.Store(up is null ? y : y * P.Load(up, left), result, left);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void BackwardPart(T* dy, T* gate, T* up, T* dgate, T* dup, long n)
    {
        long j = 0;
        for (; j + Step <= n; j += Step)
            Slopes<Whole>(dy + j, gate + j, up is null ? null : up + j, dgate + j, dup + j, Step);
        if (j < n)
            Slopes<Last>(dy + j, gate + j, up is null ? null : up + j, dgate + j, dup + j, n - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Slopes<P>(T* slopes, T* gate, T* up, T* dgate, T* dup, long left)
        where P : IPart
    {
        var (dy, x) = (P.Load(slopes, left), P.Load(gate, left));
        var (z, inner) = U.At(x);
        var s = Sigmoid(z);
        var activation = x * s;
        if (up is not null)
        {
            P.Store(dy * activation, dup, left);
            dy *= P.Load(up, left);
        }

        P.Store(dy * (s + activation * (Vector512<float>.One - s) * inner), dgate, left);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Sigmoid(Vector512<float> x) =>
        Vector512<float>.One / (Vector512<float>.One + VectorMath.Exp(-x));
}
