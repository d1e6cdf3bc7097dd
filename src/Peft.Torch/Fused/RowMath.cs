using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch;

/// <summary>Steps over one row of float or double, 512 bits at a time.</summary>
/// <remarks>Rows lie in scratch memory with room for 64 bytes after the last element: what stands there is overwritten and never
/// counts.</remarks>
internal static unsafe class RowMath<W>
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    /// <summary>Elements a step.</summary>
    public static readonly int Lanes = Vector512<W>.Count;

    /// <summary>Elements from one row of n to the next, with room at the end.</summary>
    public static long Stride(long n) => (n + 2 * Lanes - 1) / Lanes * Lanes;

    /// <summary>Each of n becomes cap * tanh(it / cap).</summary>
    public static void Cap(W* row, long n, W cap)
    {
        var (most, inverse) = (Vector512.Create(cap), Vector512.Create(W.One / cap));
        for (long j = 0; j < n; j += Lanes)
            (most * VectorMath.Tanh(Load(row, j, n, W.Zero) * inverse)).Store(row + j);
    }

    /// <summary>The largest of all lanes.</summary>
    public static W Largest(Vector512<W> values)
    {
        var half = Vector256.Max(values.GetLower(), values.GetUpper());
        var quarter = Vector128.Max(half.GetLower(), half.GetUpper());
        var largest = quarter[0];
        for (var i = 1; i < Vector128<W>.Count; i++)
            largest = W.Max(largest, quarter[i]);
        return largest;
    }

    /// <summary>Elements from j on; those from n on count as the filler.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<W> Load(W* row, long j, long n, W filler)
    {
        var values = Vector512.Load(row + j);
        if (n - j >= Lanes)
            return values;
        var inside = Vector512.LessThan(Vector512.CreateSequence(W.Zero, W.One), Vector512.Create(W.CreateTruncating(n - j)));
        return Vector512.ConditionalSelect(inside, values, Vector512.Create(filler));
    }
}
