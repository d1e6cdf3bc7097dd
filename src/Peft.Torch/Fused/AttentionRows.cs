using System.Numerics;
using System.Runtime.Intrinsics;

namespace Peft.Torch;

/// <summary>One row of scores at a time: W is float or double, T what the products take (W itself, or ushort for bfloat16).</summary>
/// <remarks>Rows lie in scratch memory with room for 64 bytes after the last element, which is written with zeros.</remarks>
internal static unsafe class AttentionRows<T, W>
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    private static readonly int Lanes = Vector512<W>.Count;

    /// <summary>Scores of n visible keys become probabilities in p; returns log(sum(exp)). A row that sees nothing becomes zeros.</summary>
    public static W Softmax(W* row, T* p, W* mask, long n, W cap)
    {
        if (cap > W.Zero)
            Cap(row, n, cap);
        if (mask != null)
            Add(row, mask, n);
        var tops = Vector512.Create(W.NegativeInfinity);
        for (long j = 0; j < n; j += Lanes)
            tops = Vector512.Max(tops, Load(row, j, n, W.NegativeInfinity));
        var top = Largest(tops);
        if (top == W.NegativeInfinity)
        {
            new Span<T>(p, (int)n).Clear();
            return W.PositiveInfinity;
        }
        var (shift, sums) = (Vector512.Create(top), Vector512<W>.Zero);
        for (long j = 0; j < n; j += Lanes)
        {
            var e = VectorMath.Exp(Load(row, j, n, W.NegativeInfinity) - shift);
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
            var e = VectorMath.Exp(Load(row, j, n, W.NegativeInfinity) - shift);
            sums += e * Load(dp, j, n, W.Zero);
            e.Store(row + j);
        }
        var (mean, factor) = (Vector512.Create(Vector512.Sum(sums)), Vector512.Create(scale));
        for (long j = 0; j < n; j += Lanes)
        {
            var e = Vector512.Load(row + j);
            var gradient = e * (Load(dp, j, n, W.Zero) - mean) * factor;
            VectorMath.Store(e, p + j);
            VectorMath.Store(gradient, ds + j);
        }
    }

    // As above, where each score became cap * tanh(score / cap).
    private static void SoftmaxBackCapped(W* row, W* dp, T* p, T* ds, W* mask, W lse, long n, W cap, W scale)
    {
        Cap(row, n, cap);
        var (shift, square, sums) = (Vector512.Create(lse), Vector512.Create(W.One / (cap * cap)), Vector512<W>.Zero);
        for (long j = 0; j < n; j += Lanes)
            sums += Probability(row, mask, j, n, shift) * Load(dp, j, n, W.Zero);
        var (mean, factor) = (Vector512.Create(Vector512.Sum(sums)), Vector512.Create(scale));
        for (long j = 0; j < n; j += Lanes)
        {
            var (e, capped) = (Probability(row, mask, j, n, shift), Load(row, j, n, W.Zero));
            var gradient = e * (Load(dp, j, n, W.Zero) - mean) * factor * (Vector512<W>.One - capped * capped * square);
            VectorMath.Store(e, p + j);
            VectorMath.Store(gradient, ds + j);
        }
    }

    private static Vector512<W> Probability(W* row, W* mask, long j, long n, Vector512<W> shift)
    {
        var score = Load(row, j, n, W.NegativeInfinity);
        if (mask != null)
            score += LoadOf(mask, j, n);
        return VectorMath.Exp(score - shift);
    }

    private static void Cap(W* row, long n, W cap)
    {
        var (most, inverse) = (Vector512.Create(cap), Vector512.Create(W.One / cap));
        for (long j = 0; j < n; j += Lanes)
            (most * VectorMath.Tanh(Load(row, j, n, W.Zero) * inverse)).Store(row + j);
    }

    private static void Add(W* row, W* mask, long n)
    {
        for (long j = 0; j < n; j += Lanes)
            (Load(row, j, n, W.Zero) + LoadOf(mask, j, n)).Store(row + j);
    }

    private static W Largest(Vector512<W> values)
    {
        var half = Vector256.Max(values.GetLower(), values.GetUpper());
        var quarter = Vector128.Max(half.GetLower(), half.GetUpper());
        var largest = quarter[0];
        for (var i = 1; i < Vector128<W>.Count; i++)
            largest = W.Max(largest, quarter[i]);
        return largest;
    }

    // Elements from j on; those from n on count as the filler.
    private static Vector512<W> Load(W* row, long j, long n, W filler)
    {
        var values = Vector512.Load(row + j);
        if (n - j >= Lanes)
            return values;
        var inside = Vector512.LessThan(Vector512.CreateSequence(W.Zero, W.One), Vector512.Create(W.CreateTruncating(n - j)));
        return Vector512.ConditionalSelect(inside, values, Vector512.Create(filler));
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
