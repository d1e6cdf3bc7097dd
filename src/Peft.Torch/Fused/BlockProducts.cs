using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Peft.Torch.Fused;

/// <summary>Products of the size that blocks of attention have, float32 in registers of 512 bits: four rows by four
/// vectors at a time, factors read where they lie. MKL copies them first, which costs as much as the product.</summary>
internal static unsafe class BlockProducts
{
    private const int Lanes = 16, Four = 4, Wide = Four * Lanes;

    /// <summary>Whether blocks of so wide heads are multiplied here.</summary>
    public static bool Serves<T>(long headSize, long valueSize) =>
        typeof(T) == typeof(float) && Vector512.IsHardwareAccelerated && headSize % Lanes == 0
        && valueSize % Lanes == 0;

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
        for (long j = 0; j < n;)
        {
            var isWide = j + Wide <= n;
            for (long i = 0; i < m; i += Four)
            {
                // Where fewer are left, the first of them is computed in the place of those that are missing.
                long left = m - i, s1 = left > 1 ? 1 : 0, s2 = left > 2 ? 2 : 0, s3 = left > 3 ? 3 : 0;
                var rows = a + i * aRow;
                var goal = c + i * cStep + j;
                if (isWide)
                {
                    FourByFour(k, rows, s1 * aRow, s2 * aRow, s3 * aRow, aTerm, b + j, bStep, alpha, adds,
                        goal, s1 * cStep, s2 * cStep, s3 * cStep);
                }
                else
                {
                    FourByOne(k, rows, s1 * aRow, s2 * aRow, s3 * aRow, aTerm, b + j, bStep, alpha, adds,
                        goal, s1 * cStep, s2 * cStep, s3 * cStep);
                }
            }

            j += isWide ? Wide : Lanes;
        }
    }

    /// <summary>target [columns, step] = the transpose of rows [n, columns]; columns a multiple of four.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Transpose(float* rows, long rowStep, long n, long columns, float* target, long step)
    {
        long i = 0;
        for (; i + Four <= n; i += Four)
        {
            float* r0 = rows + i * rowStep, r1 = r0 + rowStep, r2 = r1 + rowStep, r3 = r2 + rowStep;
            for (long j = 0; j < columns; j += Four)
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
            for (long j = 0; j < columns; j++)
                target[j * step + i] = rows[i * rowStep + j];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByFour(
        long k, float* a, long a1, long a2, long a3, long aTerm, float* b, long bStep, float alpha, bool adds, float* c,
        long c1, long c2, long c3)
    {
        Vector512<float> p0 = default, p1 = default, p2 = default, p3 = default;
        Vector512<float> q0 = default, q1 = default, q2 = default, q3 = default;
        Vector512<float> r0 = default, r1 = default, r2 = default, r3 = default;
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        for (; k > 0; k--, a += aTerm, b += bStep)
        {
            Vector512<float> v0 = Vector512.Load(b), v1 = Vector512.Load(b + 16), v2 = Vector512.Load(b + 32),
                v3 = Vector512.Load(b + 48);
            var f = Vector512.Create(a[0]);
            p0 = Vector512.FusedMultiplyAdd(f, v0, p0);
            p1 = Vector512.FusedMultiplyAdd(f, v1, p1);
            p2 = Vector512.FusedMultiplyAdd(f, v2, p2);
            p3 = Vector512.FusedMultiplyAdd(f, v3, p3);
            f = Vector512.Create(a[a1]);
            q0 = Vector512.FusedMultiplyAdd(f, v0, q0);
            q1 = Vector512.FusedMultiplyAdd(f, v1, q1);
            q2 = Vector512.FusedMultiplyAdd(f, v2, q2);
            q3 = Vector512.FusedMultiplyAdd(f, v3, q3);
            f = Vector512.Create(a[a2]);
            r0 = Vector512.FusedMultiplyAdd(f, v0, r0);
            r1 = Vector512.FusedMultiplyAdd(f, v1, r1);
            r2 = Vector512.FusedMultiplyAdd(f, v2, r2);
            r3 = Vector512.FusedMultiplyAdd(f, v3, r3);
            f = Vector512.Create(a[a3]);
            s0 = Vector512.FusedMultiplyAdd(f, v0, s0);
            s1 = Vector512.FusedMultiplyAdd(f, v1, s1);
            s2 = Vector512.FusedMultiplyAdd(f, v2, s2);
            s3 = Vector512.FusedMultiplyAdd(f, v3, s3);
        }

        Store(p0, p1, p2, p3, alpha, adds, c);
        if (c1 > 0)
            Store(q0, q1, q2, q3, alpha, adds, c + c1);
        if (c2 > 0)
            Store(r0, r1, r2, r3, alpha, adds, c + c2);
        if (c3 > 0)
            Store(s0, s1, s2, s3, alpha, adds, c + c3);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByOne(
        long k, float* a, long a1, long a2, long a3, long aTerm, float* b, long bStep, float alpha, bool adds, float* c,
        long c1, long c2, long c3)
    {
        Vector512<float> p = default, q = default, r = default, s = default;
        for (; k > 0; k--, a += aTerm, b += bStep)
        {
            var v = Vector512.Load(b);
            p = Vector512.FusedMultiplyAdd(Vector512.Create(a[0]), v, p);
            q = Vector512.FusedMultiplyAdd(Vector512.Create(a[a1]), v, q);
            r = Vector512.FusedMultiplyAdd(Vector512.Create(a[a2]), v, r);
            s = Vector512.FusedMultiplyAdd(Vector512.Create(a[a3]), v, s);
        }

        Store(p, alpha, adds, c);
        if (c1 > 0)
            Store(q, alpha, adds, c + c1);
        if (c2 > 0)
            Store(r, alpha, adds, c + c2);
        if (c3 > 0)
            Store(s, alpha, adds, c + c3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(
        Vector512<float> v0, Vector512<float> v1, Vector512<float> v2, Vector512<float> v3, float alpha, bool adds,
        float* c)
    {
        Store(v0, alpha, adds, c);
        Store(v1, alpha, adds, c + 16);
        Store(v2, alpha, adds, c + 32);
        Store(v3, alpha, adds, c + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(Vector512<float> sum, float alpha, bool adds, float* c)
    {
        var scaled = sum * alpha;
        (adds ? Vector512.Load(c) + scaled : scaled).Store(c);
    }
}
