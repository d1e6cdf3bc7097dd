using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

/// <summary>Passes over the rows of experts; widths are whole vectors.</summary>
internal abstract class ExpertRowsKernel
{
    private static readonly ExpertRowsKernel Single = new ExpertRowsKernel<float>();
    private static readonly ExpertRowsKernel Bfloat16 = new ExpertRowsKernel<ushort>();

    /// <summary>The kernel of a type.</summary>
    public static ExpertRowsKernel Of(ScalarType type) => type == ScalarType.BFloat16 ? Bfloat16 : Single;

    /// <summary>target [N, W] = the sum of each token's rows of wide [P, W], times their gates where there are
    /// some.</summary>
    public abstract void Sum(ExpertRows rows, Tensor wide, Tensor? gates, Tensor target);

    /// <summary>target [P, W] = source [N, W] at each row's token, times its gate where there are some, + a
    /// term.</summary>
    public abstract void Spread(ExpertRows rows, Tensor? source, Tensor? gates, LowRankTerm? added, Tensor target);

    /// <summary>Adds to the gates [N, E] of each row its product with its token's row: wide [P, W] by source [N,
    /// W].</summary>
    public abstract void AddDots(ExpertRows rows, Tensor wide, Tensor source, Tensor gates);
}

/// <inheritdoc/>
/// <typeparam name="T">float, or ushort holding bfloat16.</typeparam>
internal sealed unsafe class ExpertRowsKernel<T> : ExpertRowsKernel
    where T : unmanaged
{
    private const int Lanes = Elements<T>.Count;

    /// <inheritdoc/>
    public override void Sum(ExpertRows rows, Tensor wide, Tensor? gates, Tensor target)
    {
        var (from, to, width) = ((nint)TensorMemory.Of<T>(wide), (nint)TensorMemory.Of<T>(target), target.size(-1));
        var weights = (nint)TensorMemory.Of<float>(gates);
        Elements<T>.ForRows(rows.Tokens, width, (first, end) =>
        {
            for (var token = first; token < end; token++)
                Sum(rows, rows.RowsOf(token), (T*)from, (float*)weights, width, (T*)to + token * width);
        });
    }

    /// <inheritdoc/>
    public override void Spread(ExpertRows rows, Tensor? source, Tensor? gates, LowRankTerm? added, Tensor target)
    {
        var (from, width) = ((nint)TensorMemory.Of<T>(source), target.size(-1));
        var weights = (nint)TensorMemory.Of<float>(gates);
        var (low, factor) = ((nint)TensorMemory.Of<float>(added?.Low), (nint)TensorMemory.Of<float>(added?.Factor));
        var experts = added is { Groups: { } groups } ? new GroupedKernel<T>(groups) : null;
        Tiles<T, float>.Product(rows.Count, width, null, (i, j, height, columns, tile, step) =>
        {
            for (var row = i; row < i + height && from != 0; row++)
                Copy((T*)from + rows.TokenOf(row) * width + j,
                    weights == 0 ? 1 : ((float*)weights)[rows.CellOf(row)], columns, tile + (row - i) * step);
            experts?.Up((float*)low, (float*)factor, width, i, j, height, columns, tile, step);
        }, null, TensorMemory.Of<T>(target));
    }

    /// <inheritdoc/>
    public override void AddDots(ExpertRows rows, Tensor wide, Tensor source, Tensor gates)
    {
        var (left, right, width) = ((nint)TensorMemory.Of<T>(wide), (nint)TensorMemory.Of<T>(source), wide.size(-1));
        var sums = (nint)TensorMemory.Of<float>(gates);
        Elements<T>.ForRows(rows.Count, width, (first, end) =>
        {
            for (var row = first; row < end; row++)
                ((float*)sums)[rows.CellOf(row)] += Dot(
                    (T*)left + row * width, (T*)right + rows.TokenOf(row) * width, width);
        });
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Sum(
        ExpertRows rows, ReadOnlySpan<int> own, T* wide, float* gates, long width, T* target)
    {
        for (long j = 0; j < width; j += Lanes)
        {
            var sum = Vector512<float>.Zero;
            foreach (var row in own)
            {
                var part = Elements<T>.Load(wide + row * width + j);
                sum = gates == null ? sum + part
                    : Vector512.FusedMultiplyAdd(Vector512.Create(gates[rows.CellOf(row)]), part, sum);
            }

            VectorMath.Store(sum, target + j);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Copy(T* source, float factor, long count, float* target)
    {
        var factors = Vector512.Create(factor);
        for (long j = 0; j < count; j += Lanes)
            (Elements<T>.Load(source + j) * factors).Store(target + j);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Dot(T* left, T* right, long count)
    {
        var sum = Vector512<float>.Zero;
        for (long j = 0; j < count; j += Lanes)
            sum = Vector512.FusedMultiplyAdd(Elements<T>.Load(left + j), Elements<T>.Load(right + j), sum);
        return Vector512.Sum(sum);
    }
}
