using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static Peft.Torch.Natives.TensorMemory;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>weight * x / sqrt(mean(x squared) + eps); statistics in float32, rounded to x's type before the
    /// weight.</summary>
    /// <remarks>Shapes: x [.., D], weight [D] gives [.., D]. Gradient: to x and weight; first derivatives only.
    /// Errors: <see cref="ArgumentException"/> when shapes do not meet.</remarks>
    public static Tensor rms_norm(Tensor x, Tensor weight, double eps)
    {
        CheckNorm(x, weight);
        return Kernels.ServeRows(x) ? new RmsNormFunction((float)eps, handsOn: false).Apply(x, weight)
            : Composed.rms_norm(x, weight, eps);
    }

    /// <summary><see cref="rms_norm"/>, and x itself for what it is added to later: the gradients of both ways are one
    /// pass.</summary>
    /// <remarks>Shapes, gradient and errors: as <see cref="rms_norm"/>; the second result shares x's memory.</remarks>
    public static (Tensor Normal, Tensor X) rms_norm_beside(Tensor x, Tensor weight, double eps)
    {
        CheckNorm(x, weight);
        if (!Kernels.ServeRows(x))
            return (Composed.rms_norm(x, weight, eps), x);
        var outputs = new RmsNormFunction((float)eps, handsOn: true).ApplyAll(x, weight);
        return (outputs[0], outputs[1]);
    }

    private static void CheckNorm(Tensor x, Tensor weight)
    {
        if (x.dim() < 1 || weight.dim() != 1 || x.size(-1) != weight.size(0))
            throw new ArgumentException(
                $"x {Shapes.Of(x)} does not meet weight {Shapes.Of(weight)}; x is [..., D] and weight [D]");
    }
}

/// <summary>RMSNorm over the memory of CPU tensors; inputs x, weight, outputs the norm and, where it hands it on, x.
/// Backward computes a row's statistics again: one pass over x is cheaper than a graph that holds more.</summary>
internal sealed unsafe class RmsNormFunction(float eps, bool handsOn) : AutogradFunction
{
    protected override bool IsRepeatable => true;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        Save(inputs[0], inputs[1]);
        return handsOn ? [Repeat(inputs), inputs[0]!.detach()] : [Repeat(inputs)];
    }

    protected override Tensor Repeat(Tensor?[] saved)
    {
        var (x, weight) = (saved[0]!, saved[1]!);
        var rows = x.Dense();
        var result = torch.empty_like(rows);
        var factors = weight.As(x.dtype).Dense();
        var (count, n) = Size(x);
        if (x.dtype == ScalarType.Float32) Run<float>();
        else Run<ushort>();
        return result;

        void Run<T>()
            where T : unmanaged => RmsNormKernel<T>.Forward(Of<T>(rows), Of<T>(factors), Of<T>(result), count, n, eps);
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var beside = handsOn && Needs(0) ? gradients[1]?.Dense() : null;
        if (gradients[0] is null) return [beside, null];
        var (x, weight) = (saved[0]!, saved[1]!);
        var (rows, slopes, factors) = (x.Dense(), gradients[0]!.Dense(), weight.As(x.dtype).Dense());
        var (count, n) = Size(x);
        var dx = Needs(0) ? torch.empty_like(rows) : null;
        var partial = Needs(1) ? torch.zeros([RmsNormKernel<float>.Shares(count, n), n]) : null;
        if (x.dtype == ScalarType.Float32) Run<float>();
        else Run<ushort>();
        return [dx, partial?.sum([0]).As(weight.dtype)];

        void Run<T>()
            where T : unmanaged => RmsNormKernel<T>.Backward(
                Of<T>(slopes), Of<T>(rows), Of<T>(factors), Of<T>(beside), Of<T>(dx), Of<float>(partial), count, n,
                eps);
    }

    private static (long Rows, long Columns) Size(Tensor x) => (x.numel() / x.size(-1), x.size(-1));
}

/// <summary>RMSNorm of rows in memory. Sums of a row run over sixteen lanes, whatever the processor. Loops are compiled
/// once and fully: their first, quick version takes ten times as long, and a short run would never leave it.</summary>
/// <typeparam name="T">float, or ushort holding bfloat16.</typeparam>
internal static unsafe class RmsNormKernel<T>
    where T : unmanaged
{
    private const int Step = Elements<T>.Count;

    public static void Forward(T* x, T* weight, T* y, long rows, long n, float eps) =>
        Elements<T>.ForRows(rows, n, (first, end) =>
        {
            for (var i = first; i < end; i++)
                ForwardRow(x + i * n, weight, y + i * n, n, Inverse(x + i * n, n, eps));
        });

    /// <summary>Blocks of rows, each with a sum of its own for the weight's gradient.</summary>
    public static long Shares(long rows, long n) => (rows + RowsAShare(n) - 1) / RowsAShare(n);

    /// <summary>dx = beside + inverse * (dn - normal * mean(dn normal)) with dn = dy weight; null where no one asks for
    /// it, and where there is nothing beside. partial [Shares, n] gets the weight's gradient in parts, so that its sum
    /// does not depend on the threads.</summary>
    public static void Backward(
        T* dy, T* x, T* weight, T* beside, T* dx, float* partial, long rows, long n, float eps)
    {
        var share = RowsAShare(n);
        Threads.Share(Shares(rows, n), tasks =>
        {
            while (tasks.Next(out var task))
            {
                for (var i = task * share; i < Math.Min(rows, (task + 1) * share); i++)
                {
                    var inverse = Inverse(x + i * n, n, eps);
                    if (dx != null)
                        BackwardRow(dy + i * n, x + i * n, weight, beside == null ? null : beside + i * n, dx + i * n,
                            n, inverse);
                    if (partial != null) AddWeightRow(dy + i * n, x + i * n, partial + task * n, n, inverse);
                }
            }
        });
    }

    private static long RowsAShare(long n) => Math.Max(1, 16384 / Math.Max(1, n));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Inverse(T* x, long n, float eps)
    {
        var (even, odd) = (Vector512<float>.Zero, Vector512<float>.Zero);
        long j = 0;
        for (; j + 2 * Step <= n; j += 2 * Step)
        {
            var (a, b) = (Elements<T>.Load(x + j), Elements<T>.Load(x + j + Step));
            (even, odd) = (Vector512.FusedMultiplyAdd(a, a, even), Vector512.FusedMultiplyAdd(b, b, odd));
        }

        for (; j < n; j += Step)
        {
            var a = n - j < Step ? Last.Load(x + j, n - j) : Elements<T>.Load(x + j);
            even = Vector512.FusedMultiplyAdd(a, a, even);
        }

        return 1 / MathF.Sqrt(Vector512.Sum(even + odd) / n + eps);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ForwardRow(T* x, T* weight, T* y, long n, float inverse)
    {
        var factor = Vector512.Create(inverse);
        long j = 0;
        for (; j + Step <= n; j += Step)
            Scale<Whole>(x + j, weight + j, y + j, factor, Step);
        if (j < n)
            Scale<Last>(x + j, weight + j, y + j, factor, n - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Scale<P>(T* x, T* weight, T* y, Vector512<float> factor, long left)
        where P : IPart =>
        P.Store(Elements<T>.Round(P.Load(x, left) * factor) * P.Load(weight, left), y, left);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void BackwardRow(T* dy, T* x, T* weight, T* beside, T* dx, long n, float inverse)
    {
        var sum = Vector512<float>.Zero;
        long j = 0;
        for (; j + Step <= n; j += Step)
            sum = Vector512.FusedMultiplyAdd(
                Elements<T>.Load(dy + j) * Elements<T>.Load(weight + j), Elements<T>.Load(x + j), sum);
        if (j < n)
            sum = Vector512.FusedMultiplyAdd(
                Last.Load(dy + j, n - j) * Last.Load(weight + j, n - j), Last.Load(x + j, n - j), sum);
        var mean = Vector512.Create(-Vector512.Sum(sum) * inverse * inverse / n);
        var factor = Vector512.Create(inverse);
        for (j = 0; j + Step <= n; j += Step)
            Slope<Whole>(dy + j, x + j, weight + j, beside == null ? null : beside + j, dx + j, mean, factor, Step);
        if (j < n)
            Slope<Last>(dy + j, x + j, weight + j, beside == null ? null : beside + j, dx + j, mean, factor, n - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Slope<P>(
        T* dy, T* x, T* weight, T* beside, T* dx, Vector512<float> mean, Vector512<float> factor, long left)
        where P : IPart
    {
        var dn = P.Load(dy, left) * P.Load(weight, left);
        var slope = factor * Vector512.FusedMultiplyAdd(P.Load(x, left), mean, dn);
        P.Store(beside == null ? slope : slope + P.Load(beside, left), dx, left);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddWeightRow(T* dy, T* x, float* sums, long n, float inverse)
    {
        var factor = Vector512.Create(inverse);
        long j = 0;
        for (; j + Step <= n; j += Step)
            AddWeights<Whole>(dy + j, x + j, sums + j, factor, Step);
        if (j < n)
            AddWeights<Last>(dy + j, x + j, sums + j, factor, n - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddWeights<P>(T* dy, T* x, float* sums, Vector512<float> factor, long left)
        where P : IPart
    {
        var normal = Elements<T>.Round(P.Load(x, left) * factor);
        P.Store(Vector512.FusedMultiplyAdd(P.Load(dy, left), normal, P.Load(sums, left)), sums, left);
    }
}

internal static partial class Composed
{
    public static Tensor rms_norm(Tensor x, Tensor weight, double eps)
    {
        using var scope = torch.NewDisposeScope();
        using var epsilon = eps.ToScalar();
        var wide = x.dtype == ScalarType.Float64 ? x : x.to(ScalarType.Float32);
        var normal = wide * wide.square().mean([-1], keepdim: true).add(epsilon).rsqrt();
        return (normal.to(x.dtype) * weight.to(x.dtype)).MoveToOuterDisposeScope();
    }
}
