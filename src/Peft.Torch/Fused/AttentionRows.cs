using System.Numerics;
using System.Runtime.Intrinsics;

namespace Peft.Torch;

/// <summary>One row of scores at a time: W is float or double, T what the products take (W itself, or ushort for bfloat16).</summary>
/// <remarks>Rows lie as <see cref="RowMath{W}"/> wants them.</remarks>
internal static unsafe class AttentionRows<T, W>
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    private static readonly int Lanes = RowMath<W>.Lanes;

    /// <summary>Scores of n visible keys become probabilities in p; returns log(sum(exp)). A row that sees nothing becomes zeros.</summary>
    public static W Softmax(W* row, T* p, W* mask, long n, W cap)
    {
        if (cap > W.Zero)
            RowMath<W>.Cap(row, n, cap);
        if (mask != null)
            Add(row, mask, n);
        var tops = Vector512.Create(W.NegativeInfinity);
        for (long j = 0; j < n; j += Lanes)
            tops = Vector512.Max(tops, RowMath<W>.Load(row, j, n, W.NegativeInfinity));
        var top = RowMath<W>.Largest(tops);
        if (top == W.NegativeInfinity)
        {
            new Span<T>(p, (int)n).Clear();
            return W.PositiveInfinity;
        }
        var (shift, sums) = (Vector512.Create(top), Vector512<W>.Zero);
        for (long j = 0; j < n; j += Lanes)
        {
            var e = VectorMath.Exp(RowMath<W>.Load(row, j, n, W.NegativeInfinity) - shift);
            sums += e;
            e.Store(row + j);
        }
        var sum = Vector512.Sum(sums);
        var inverse = Vector512.Create(W.One / sum);
        for (long j = 0; j < n; j += Lanes)
            VectorMath.Store(Vector512.Load(row + j) * inverse, p + j);
        return top + W.Log(sum);
    }

    /// <summary>Scores become probabilities again in p, and dp (the probabilities' gradient) the raw scores' gradient in ds.</summary>
    public static void SoftmaxBack(W* row, W* dp, T* p, T* ds, W* mask, W lse, long n, W cap, W scale)
    {
        if (cap > W.Zero)
        {
            SoftmaxBackCapped(row, dp, p, ds, mask, lse, n, cap, scale);
            return;
        }
        if (mask != null)
            Add(row, mask, n);
        var (shift, sums) = (Vector512.Create(lse), Vector512<W>.Zero);
        for (long j = 0; j < n; j += Lanes)
        {
            var e = VectorMath.Exp(RowMath<W>.Load(row, j, n, W.NegativeInfinity) - shift);
            sums += e * RowMath<W>.Load(dp, j, n, W.Zero);
            e.Store(row + j);
        }
        var (mean, factor) = (Vector512.Create(Vector512.Sum(sums)), Vector512.Create(scale));
        for (long j = 0; j < n; j += Lanes)
        {
            var e = Vector512.Load(row + j);
            var gradient = e * (RowMath<W>.Load(dp, j, n, W.Zero) - mean) * factor;
            VectorMath.Store(e, p + j);
            VectorMath.Store(gradient, ds + j);
        }
    }

    // As above, where each score became cap * tanh(score / cap).
    private static void SoftmaxBackCapped(W* row, W* dp, T* p, T* ds, W* mask, W lse, long n, W cap, W scale)
    {
        RowMath<W>.Cap(row, n, cap);
        var (shift, square, sums) = (Vector512.Create(lse), Vector512.Create(W.One / (cap * cap)), Vector512<W>.Zero);
        for (long j = 0; j < n; j += Lanes)
            sums += Probability(row, mask, j, n, shift) * RowMath<W>.Load(dp, j, n, W.Zero);
        var (mean, factor) = (Vector512.Create(Vector512.Sum(sums)), Vector512.Create(scale));
        for (long j = 0; j < n; j += Lanes)
        {
            var (e, capped) = (Probability(row, mask, j, n, shift), RowMath<W>.Load(row, j, n, W.Zero));
            var gradient = e * (RowMath<W>.Load(dp, j, n, W.Zero) - mean) * factor * (Vector512<W>.One - capped * capped * square);
            VectorMath.Store(e, p + j);
            VectorMath.Store(gradient, ds + j);
        }
    }

    private static Vector512<W> Probability(W* row, W* mask, long j, long n, Vector512<W> shift)
    {
        var score = RowMath<W>.Load(row, j, n, W.NegativeInfinity);
        if (mask != null)
            score += LoadOf(mask, j, n);
        return VectorMath.Exp(score - shift);
    }

    private static void Add(W* row, W* mask, long n)
    {
        for (long j = 0; j < n; j += Lanes)
            (RowMath<W>.Load(row, j, n, W.Zero) + LoadOf(mask, j, n)).Store(row + j);
    }

    // The same of memory that ends at n.
    private static Vector512<W> LoadOf(W* memory, long j, long n)
    {
        if (n - j >= Lanes)
            return Vector512.Load(memory + j);
        var rest = stackalloc W[Lanes];
        for (var i = 0; i < Lanes; i++)
            rest[i] = i < n - j ? memory[j + i] : W.Zero;
        return Vector512.Load(rest);
    }
}
