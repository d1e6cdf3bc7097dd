using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Peft.Torch.Fused;

/// <summary>Small products of float32: six rows (four where they are gathered) by four vectors at a time, factors read
/// where they lie. MKL copies them first, which costs as much as the product. Each entry is one sum in the order of its
/// terms, wherever a block begins: it is the same bits each time.</summary>
internal static unsafe class BlockProducts
{
    /// <summary>Rows that are made at once.</summary>
    public const int Six = 6;

    /// <summary>Rows that are made at once where they do not follow one another.</summary>
    public const int Four = 4;

    /// <summary>Columns that are made at once, where there are so many.</summary>
    public const int Wide = Four * Lanes;

    /// <summary>Columns are whole vectors.</summary>
    public const int Lanes = 16;

    /// <summary>c [m, n] = alpha * a b, or what is in c plus that; rows of n are whole vectors.</summary>
    /// <param name="m">Rows.</param>
    /// <param name="n">Columns, rounded up to whole vectors: what lies behind in b and c must be there.</param>
    /// <param name="k">Terms of a sum.</param>
    /// <param name="a">The left factor: element (i, j) at i * aRow + j * aTerm.</param>
    /// <param name="aRow">Step between its rows.</param>
    /// <param name="aTerm">Step between the terms of a row.</param>
    /// <param name="b">The right factor, [k, n].</param>
    /// <param name="bStep">Step between its rows.</param>
    /// <param name="alpha">Factor of the sums.</param>
    /// <param name="adds">Whether c is added to.</param>
    /// <param name="c">The product.</param>
    /// <param name="cStep">Step between its rows.</param>
    public static void Multiply(
        long m, long n, long k, float* a, long aRow, long aTerm, float* b, long bStep, float alpha, bool adds, float* c,
        long cStep)
    {
        for (long i = 0; i < m; i += Six)
            SixRows(Math.Min(Six, m - i), n, k, a + i * aRow, aRow, aTerm, b, bStep, alpha, adds, c + i * cStep, cStep);
    }

    /// <summary>Up to six rows of a product, as <see cref="Multiply"/>.</summary>
    public static void SixRows(
        long rows, long n, long k, float* a, long aRow, long aTerm, float* b, long bStep, float alpha, bool adds,
        float* c, long cStep)
    {
        long j = 0;
        for (; j + Wide <= n; j += Wide)
            SixBy<FourVectors>(rows, k, a, aRow, aTerm, b + j, bStep, alpha, adds, c + j, cStep);
        if (j + Wide / 2 <= n)
        {
            SixBy<TwoVectors>(rows, k, a, aRow, aTerm, b + j, bStep, alpha, adds, c + j, cStep);
            j += Wide / 2;
        }
        if (j < n)
            SixBy<OneVector>(rows, k, a, aRow, aTerm, b + j, bStep, alpha, adds, c + j, cStep);
    }

    /// <summary>How wide the tile from column j on is.</summary>
    public static long WidthAt(long j, long n) => j + Wide <= n ? Wide : Lanes;

    /// <summary>Up to four gathered rows of a product, <see cref="Wide"/> or <see cref="Lanes"/> columns; as
    /// <see cref="Multiply"/>.</summary>
    public static void Tile(
        long width, long k, FourRows a, long aTerm, float* b, long bStep, float alpha, bool adds, FourRows c)
    {
        if (width == Wide)
            FourBy<FourVectors>(k, a, aTerm, b, bStep, alpha, adds, c);
        else
            FourBy<OneVector>(k, a, aTerm, b, bStep, alpha, adds, c);
    }

    /// <summary>target [columns, step] = the transpose of rows [n, columns]; columns a multiple of four.</summary>
    /// <remarks>A line of the cache's worth of columns at a time: in a large matrix every other line would be fetched
    /// once for each four rows.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Transpose(float* rows, long rowStep, long n, long columns, float* target, long step)
    {
        for (long begin = 0; begin < columns; begin += Lanes)
        {
            var end = Math.Min(columns, begin + Lanes);
            long i = 0;
            for (; i + Four <= n; i += Four)
            {
                float* r0 = rows + i * rowStep, r1 = r0 + rowStep, r2 = r1 + rowStep, r3 = r2 + rowStep;
                for (var j = begin; j < end; j += Four)
                {
                    var (a, b) = (Vector128.Load(r0 + j), Vector128.Load(r1 + j));
                    var (c, d) = (Vector128.Load(r2 + j), Vector128.Load(r3 + j));
                    var (ab, cd) = (Sse.UnpackLow(a, b), Sse.UnpackLow(c, d)); // a0 b0 a1 b1
                    var goal = target + j * step + i;
                    Sse.MoveLowToHigh(ab, cd).Store(goal);
                    Sse.MoveHighToLow(cd, ab).Store(goal + step);
                    (ab, cd) = (Sse.UnpackHigh(a, b), Sse.UnpackHigh(c, d));
                    Sse.MoveLowToHigh(ab, cd).Store(goal + 2 * step);
                    Sse.MoveHighToLow(cd, ab).Store(goal + 3 * step);
                }
            }

            for (; i < n; i++)
            {
                for (var j = begin; j < end; j++)
                    target[j * step + i] = rows[i * rowStep + j];
            }
        }
    }

    // A row that is missing is computed as the first, and not stored. Where V has fewer than four vectors, what belongs
    // to the others is not compiled.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SixBy<V>(
        long rows, long k, float* a, long aRow, long aTerm, float* b, long bStep, float alpha, bool adds, float* c,
        long cStep)
        where V : struct, IVectors
    {
        long a1 = rows > 1 ? aRow : 0, a2 = rows > 2 ? 2 * aRow : 0, a3 = rows > 3 ? 3 * aRow : 0;
        long a4 = rows > 4 ? 4 * aRow : 0, a5 = rows > 5 ? 5 * aRow : 0;
        Vector512<float> p0 = default, p1 = default, p2 = default, p3 = default;
        Vector512<float> q0 = default, q1 = default, q2 = default, q3 = default;
        Vector512<float> r0 = default, r1 = default, r2 = default, r3 = default;
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        Vector512<float> t0 = default, t1 = default, t2 = default, t3 = default;
        Vector512<float> u0 = default, u1 = default, u2 = default, u3 = default;
        for (; k > 0; k--, a += aTerm, b += bStep)
        {
            Vector512<float> v0 = Vector512.Load(b), v1 = default, v2 = default, v3 = default;
            if (V.Count > 1)
                v1 = Vector512.Load(b + 16);
            if (V.Count > 2)
                (v2, v3) = (Vector512.Load(b + 32), Vector512.Load(b + 48));
            var f = Vector512.Create(a[0]);
            (p0, p1) = (Add<V>(0, f, v0, p0), Add<V>(1, f, v1, p1));
            (p2, p3) = (Add<V>(2, f, v2, p2), Add<V>(3, f, v3, p3));
            f = Vector512.Create(a[a1]);
            (q0, q1) = (Add<V>(0, f, v0, q0), Add<V>(1, f, v1, q1));
            (q2, q3) = (Add<V>(2, f, v2, q2), Add<V>(3, f, v3, q3));
            f = Vector512.Create(a[a2]);
            (r0, r1) = (Add<V>(0, f, v0, r0), Add<V>(1, f, v1, r1));
            (r2, r3) = (Add<V>(2, f, v2, r2), Add<V>(3, f, v3, r3));
            f = Vector512.Create(a[a3]);
            (s0, s1) = (Add<V>(0, f, v0, s0), Add<V>(1, f, v1, s1));
            (s2, s3) = (Add<V>(2, f, v2, s2), Add<V>(3, f, v3, s3));
            f = Vector512.Create(a[a4]);
            (t0, t1) = (Add<V>(0, f, v0, t0), Add<V>(1, f, v1, t1));
            (t2, t3) = (Add<V>(2, f, v2, t2), Add<V>(3, f, v3, t3));
            f = Vector512.Create(a[a5]);
            (u0, u1) = (Add<V>(0, f, v0, u0), Add<V>(1, f, v1, u1));
            (u2, u3) = (Add<V>(2, f, v2, u2), Add<V>(3, f, v3, u3));
        }

        Store<V>(p0, p1, p2, p3, alpha, adds, c);
        if (rows > 1)
            Store<V>(q0, q1, q2, q3, alpha, adds, c + cStep);
        if (rows > 2)
            Store<V>(r0, r1, r2, r3, alpha, adds, c + 2 * cStep);
        if (rows > 3)
            Store<V>(s0, s1, s2, s3, alpha, adds, c + 3 * cStep);
        if (rows > 4)
            Store<V>(t0, t1, t2, t3, alpha, adds, c + 4 * cStep);
        if (rows > 5)
            Store<V>(u0, u1, u2, u3, alpha, adds, c + 5 * cStep);
    }

    // As SixBy, of rows that lie anywhere.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourBy<V>(
        long k, FourRows left, long aTerm, float* b, long bStep, float alpha, bool adds, FourRows target)
        where V : struct, IVectors
    {
        float* a = left.First, c = target.First;
        long a1 = left.Second, a2 = left.Third, a3 = left.Fourth;
        Vector512<float> p0 = default, p1 = default, p2 = default, p3 = default;
        Vector512<float> q0 = default, q1 = default, q2 = default, q3 = default;
        Vector512<float> r0 = default, r1 = default, r2 = default, r3 = default;
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        for (; k > 0; k--, a += aTerm, b += bStep)
        {
            Vector512<float> v0 = Vector512.Load(b), v1 = default, v2 = default, v3 = default;
            if (V.Count > 1)
                v1 = Vector512.Load(b + 16);
            if (V.Count > 2)
                (v2, v3) = (Vector512.Load(b + 32), Vector512.Load(b + 48));
            var f = Vector512.Create(a[0]);
            (p0, p1) = (Add<V>(0, f, v0, p0), Add<V>(1, f, v1, p1));
            (p2, p3) = (Add<V>(2, f, v2, p2), Add<V>(3, f, v3, p3));
            f = Vector512.Create(a[a1]);
            (q0, q1) = (Add<V>(0, f, v0, q0), Add<V>(1, f, v1, q1));
            (q2, q3) = (Add<V>(2, f, v2, q2), Add<V>(3, f, v3, q3));
            f = Vector512.Create(a[a2]);
            (r0, r1) = (Add<V>(0, f, v0, r0), Add<V>(1, f, v1, r1));
            (r2, r3) = (Add<V>(2, f, v2, r2), Add<V>(3, f, v3, r3));
            f = Vector512.Create(a[a3]);
            (s0, s1) = (Add<V>(0, f, v0, s0), Add<V>(1, f, v1, s1));
            (s2, s3) = (Add<V>(2, f, v2, s2), Add<V>(3, f, v3, s3));
        }

        Store<V>(p0, p1, p2, p3, alpha, adds, c);
        if (target.Second != 0)
            Store<V>(q0, q1, q2, q3, alpha, adds, c + target.Second);
        if (target.Third != 0)
            Store<V>(r0, r1, r2, r3, alpha, adds, c + target.Third);
        if (target.Fourth != 0)
            Store<V>(s0, s1, s2, s3, alpha, adds, c + target.Fourth);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Add<V>(int part, Vector512<float> f, Vector512<float> v, Vector512<float> sum)
        where V : struct, IVectors => part < V.Count ? Vector512.FusedMultiplyAdd(f, v, sum) : sum;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<V>(
        Vector512<float> v0, Vector512<float> v1, Vector512<float> v2, Vector512<float> v3, float alpha, bool adds,
        float* c)
        where V : struct, IVectors
    {
        Store(v0, alpha, adds, c);
        if (V.Count > 1)
            Store(v1, alpha, adds, c + 16);
        if (V.Count > 2)
        {
            Store(v2, alpha, adds, c + 32);
            Store(v3, alpha, adds, c + 48);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(Vector512<float> sum, float alpha, bool adds, float* c)
    {
        var scaled = sum * alpha;
        (adds ? Vector512.Load(c) + scaled : scaled).Store(c);
    }
}

/// <summary>Up to four rows: where the first begins, and the others from it. 0 stands for one that is missing: the
/// first is computed in its place, and stored once.</summary>
internal readonly unsafe struct FourRows(float* first, long second, long third, long fourth)
{
    public readonly float* First = first;
    public readonly long Second = second, Third = third, Fourth = fourth;

    /// <summary>The first of the rows that are left; rows lie step apart from start, each after the one
    /// before.</summary>
    public static FourRows Of(ReadOnlySpan<int> rows, float* start, long step) => new(
        start + rows[0] * step, Offset(rows, 1, step), Offset(rows, 2, step), Offset(rows, 3, step));

    /// <summary>The first of so many rows that lie step apart.</summary>
    public static FourRows From(float* first, long step, long left) =>
        new(first, left > 1 ? step : 0, left > 2 ? 2 * step : 0, left > 3 ? 3 * step : 0);

    private static long Offset(ReadOnlySpan<int> rows, int i, long step) =>
        i < rows.Length ? (rows[i] - rows[0]) * step : 0;
}

/// <summary>How many vectors of columns a block has.</summary>
internal interface IVectors
{
    static abstract int Count { get; }
}

internal readonly struct FourVectors : IVectors
{
    public static int Count => 4;
}

internal readonly struct TwoVectors : IVectors
{
    public static int Count => 2;
}

internal readonly struct OneVector : IVectors
{
    public static int Count => 1;
}
