using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>Rotary position embedding, halves of a head as pairs: x * cos + rotate_half(x) * sin.</summary>
    /// <remarks>Shapes: x [B, T, H, d], cos and sin [B or 1, T, d] gives [B, T, H, d]; where cos and sin are narrower
    /// than d, the rest of each head passes unchanged. Gradient: to x; first derivatives only.
    /// Errors: <see cref="ArgumentException"/> when shapes do not meet.</remarks>
    public static Tensor rotary(Tensor x, Tensor cos, Tensor sin)
    {
        if (x.dim() != 4 || cos.dim() != 3 || !cos.shape.AsSpan().SequenceEqual(sin.shape)
            || (cos.size(0) != 1 && cos.size(0) != x.size(0))
            || cos.size(1) != x.size(1) || cos.size(2) > x.size(3) || cos.size(2) % 2 != 0)
        {
            throw new ArgumentException($"cos {Shapes.Of(cos)} and sin {Shapes.Of(sin)} do not meet x {Shapes.Of(x)}; "
                + "x is [B, T, H, d], cos and sin are [B or 1, T, d or an even part of it]");
        }

        return Kernels.ServeRows(x) && !(cos.requires_grad || sin.requires_grad)
            ? new RotaryFunction().Apply(x, cos, sin)
            : Composed.rotary(x, cos, sin);
    }
}

/// <summary>Rotary embedding over the memory of CPU tensors; inputs x, cos, sin, of which x alone has a
/// gradient.</summary>
internal sealed class RotaryFunction : AutogradFunction
{
    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (cos, sin) = (Dense(inputs[1]!), Dense(inputs[2]!));
        Save(cos, sin);
        return [Turn(inputs[0]!, cos, sin, back: false)];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) =>
        [gradients[0] is { } slopes ? Turn(slopes, saved[0]!, saved[1]!, back: true) : null, null, null];

    private static Tensor Dense(Tensor angles) => angles.As(ScalarType.Float32).Dense();

    private static Tensor Turn(Tensor x, Tensor cos, Tensor sin, bool back)
    {
        var heads = x.stride(3) == 1 ? x : x.Dense();
        var result = torch.empty(x.shape, x.dtype);
        if (x.dtype == ScalarType.Float32) RotaryKernel<float>.Run(heads, cos, sin, result, back);
        else RotaryKernel<ushort>.Run(heads, cos, sin, result, back);
        return result;
    }
}

/// <summary>Rotary embedding of heads in memory.</summary>
/// <typeparam name="T">float, or ushort holding bfloat16.</typeparam>
internal static unsafe class RotaryKernel<T>
    where T : unmanaged
{
    /// <summary>Turns every head of x [B, T, H, d], or turns it back: by the transpose, which is the
    /// gradient.</summary>
    public static void Run(Tensor x, Tensor cos, Tensor sin, Tensor result, bool back) => Run(
        TensorMemory.Of<T>(x), (x.stride(0), x.stride(1), x.stride(2)), TensorMemory.Of<T>(result),
        (x.size(0), x.size(1), x.size(2), x.size(3)), cos, sin, back);

    /// <summary>The same over memory; source and target may be one where their heads lie alike.</summary>
    public static void Run(
        T* source, (long Batch, long Token, long Head) step, T* target,
        (long Batch, long Tokens, long Heads, long Size) shape,
        Tensor cos, Tensor sin, bool back)
    {
        var (batch, steps, heads, size) = shape;
        var rotated = cos.size(2);
        var angleStep = cos.size(0) == 1 ? 0 : steps * rotated;
        float* c = TensorMemory.Of<float>(cos), s = TensorMemory.Of<float>(sin);
        Elements<T>.ForRows(
            batch * steps, heads * size, [MethodImpl(MethodImplOptions.AggressiveOptimization)] (first, end) =>
        {
            for (var i = first; i < end; i++)
            {
                var (b, t) = (i / steps, i % steps);
                var angles = b * angleStep + t * rotated;
                var from = source + b * step.Batch + t * step.Token;
                var to = target + i * heads * size;
                for (long h = 0; h < heads; h++, from += step.Head, to += size)
                {
                    if (back) TurnBack(from, c + angles, s + angles, to, rotated / 2);
                    else Turn(from, c + angles, s + angles, to, rotated / 2);
                    new Span<T>(from + rotated, (int)(size - rotated))
                        .CopyTo(new Span<T>(to + rotated, (int)(size - rotated)));
                }
            }
        });
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Turn(T* x, float* cos, float* sin, T* y, long half)
    {
        long j = 0;
        for (; j + Elements<T>.Count <= half; j += Elements<T>.Count)
            Turn<Whole>(x + j, cos + j, sin + j, y + j, half, Elements<T>.Count);
        if (j < half)
            Turn<Last>(x + j, cos + j, sin + j, y + j, half, half - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Turn<P>(T* x, float* cos, float* sin, T* y, long half, long left)
        where P : IPart
    {
        var (low, high) = (P.Load(x, left), P.Load(x + half, left));
        var turned = low * P.Load(cos, left) - high * P.Load(sin, left);
        var other = high * P.Load(cos + half, left) + low * P.Load(sin + half, left);
        P.Store(turned, y, left);
        P.Store(other, y + half, left);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TurnBack(T* x, float* cos, float* sin, T* y, long half)
    {
        long j = 0;
        for (; j + Elements<T>.Count <= half; j += Elements<T>.Count)
            TurnBack<Whole>(x + j, cos + j, sin + j, y + j, half, Elements<T>.Count);
        if (j < half)
            TurnBack<Last>(x + j, cos + j, sin + j, y + j, half, half - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TurnBack<P>(T* x, float* cos, float* sin, T* y, long half, long left)
        where P : IPart
    {
        var (low, high) = (P.Load(x, left), P.Load(x + half, left));
        var turned = low * P.Load(cos, left) + high * P.Load(sin + half, left);
        var other = high * P.Load(cos + half, left) - low * P.Load(sin, left);
        P.Store(turned, y, left);
        P.Store(other, y + half, left);
    }
}

internal static partial class Composed
{
    public static Tensor rotary(Tensor x, Tensor cos, Tensor sin)
    {
        using var scope = torch.NewDisposeScope();
        var (rotated, size) = (cos.size(2), x.size(3));
        var head = x.narrow(3, 0, rotated);
        var turned = torch.cat([head.narrow(3, rotated / 2, rotated / 2).neg(), head.narrow(3, 0, rotated / 2)], 3);
        var result = (head * cos.unsqueeze(2) + turned * sin.unsqueeze(2)).to(x.dtype);
        if (rotated < size) result = torch.cat([result, x.narrow(3, rotated, size - rotated)], 3);
        return result.MoveToOuterDisposeScope();
    }
}
