using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Peft.Torch.Fused;

/// <summary>Products of few rows, as decoding has them: every weight is read once, and a row's result does not depend
/// on the rows beside it. MKL's general product reads weights at a third to a half of the memory's rate here.</summary>
/// <remarks>Sums run over sixteen lanes in one order, whatever the processor.</remarks>
/// <typeparam name="X">Type of the rows: float, or ushort holding bfloat16; sums are float.</typeparam>
/// <typeparam name="T">Type of the weight, likewise.</typeparam>
internal static unsafe class FewRows<X, T>
    where X : unmanaged
    where T : unmanaged
{
    private const int Step = Elements<T>.Count, Columns = 4;
    private const int BytesAhead = 8192; // called for before they are read
    private const int BytesOfLine = 64;

    // Where registers are narrower, MKL is the faster one: 92 tokens a second against 72 at 110 million parameters.
    private static readonly long Most = Vector512.IsHardwareAccelerated ? 16 : 0;

    /// <summary>Whether this is the faster way for so many rows x of x wt.</summary>
    public static bool Serves(long rows) => rows <= Most;

    /// <summary>y [rows, columns] = beta y + x wt, with x [rows, inner] and w [columns, inner], steps in
    /// elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Multiply(
        long rows, long columns, long inner, X* x, long xStep, T* w, long wStep, float beta, float* y, long yStep)
    {
        var sums = stackalloc float[Columns * Columns];
        for (long j = 0; j < columns; j += Columns)
        {
            var width = Math.Min(Columns, columns - j);
            // The last columns are computed with one of them in the place of those that are missing.
            T* w0 = w + j * wStep, w1 = w0 + (width > 1 ? wStep : 0), w2 = w1 + (width > 2 ? wStep : 0),
                w3 = w2 + (width > 3 ? wStep : 0);
            long i = 0;
            for (; Vector512.IsHardwareAccelerated && i + 4 <= rows; i += 4)
            {
                var at = x + i * xStep;
                Four(at, at + xStep, at + 2 * xStep, at + 3 * xStep, w0, w1, w2, w3, inner, sums);
                for (var r = i; r < i + 4; r++)
                    Store(sums + (r - i) * Columns, x + r * xStep, w0, wStep, inner, width, beta, y + r * yStep + j);
            }

            for (; i < rows; i++)
            {
                One(x + i * xStep, w0, w1, w2, w3, inner, sums);
                Store(sums, x + i * xStep, w0, wStep, inner, width, beta, y + i * yStep + j);
            }
        }
    }

    /// <summary>Whether attention of so few queries is faster by <see cref="Dots"/> and <see cref="Mix"/>: a general
    /// product takes longer to begin than these take.</summary>
    public static bool Mixes(long rows, long columns) => rows <= 4 && Serves(rows) && columns % Step == 0;

    /// <summary>y [rows, columns] = alpha x wt, as <see cref="Multiply"/>.</summary>
    public static void Dots(
        long rows, long columns, long inner, float alpha, X* x, long xStep, T* w, long wStep, float* y, long yStep)
    {
        Multiply(rows, columns, inner, x, xStep, w, wStep, 0, y, yStep);
        for (long i = 0; i < rows; i++)
        {
            var row = new Span<float>(y + i * yStep, checked((int)columns));
            TensorPrimitives.Multiply(row, alpha, row);
        }
    }

    /// <summary>y [rows, columns] = p [rows, terms] v [terms, columns], columns of whole vectors: each v is read once
    /// for a row of p, sums stay in registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Mix(
        long rows, long columns, long terms, X* p, long pStep, T* v, long vStep, float* y, long yStep)
    {
        for (long i = 0; i < rows; i++, p += pStep, y += yStep)
        {
            long j = 0;
            for (; j + 4 * Step <= columns; j += 4 * Step)
            {
                Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default;
                for (long k = 0; k < terms; k++)
                {
                    var at = v + k * vStep + j;
                    var weight = Vector512.Create(VectorMath.Widen<X, float>(p[k]));
                    a0 = Vector512.FusedMultiplyAdd(weight, Elements<T>.Load(at), a0);
                    a1 = Vector512.FusedMultiplyAdd(weight, Elements<T>.Load(at + Step), a1);
                    a2 = Vector512.FusedMultiplyAdd(weight, Elements<T>.Load(at + 2 * Step), a2);
                    a3 = Vector512.FusedMultiplyAdd(weight, Elements<T>.Load(at + 3 * Step), a3);
                }
                a0.Store(y + j);
                a1.Store(y + j + Step);
                a2.Store(y + j + 2 * Step);
                a3.Store(y + j + 3 * Step);
            }

            for (; j < columns; j += Step)
            {
                Vector512<float> sum = default;
                for (long k = 0; k < terms; k++)
                {
                    var weight = Vector512.Create(VectorMath.Widen<X, float>(p[k]));
                    sum = Vector512.FusedMultiplyAdd(weight, Elements<T>.Load(v + k * vStep + j), sum);
                }
                sum.Store(y + j);
            }
        }
    }

    // Adds what is left of rows that are no whole number of steps.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Store(float* sums, X* x, T* w, long wStep, long inner, long width, float beta, float* y)
    {
        for (var j = 0; j < width; j++)
        {
            var sum = sums[j];
            for (var k = inner / Step * Step; k < inner; k++)
                sum += VectorMath.Widen<X, float>(x[k]) * VectorMath.Widen<T, float>(w[j * wStep + k]);
            y[j] = beta == 0 ? sum : beta * y[j] + sum;
        }
    }

    // One row after the other, as they lie, so that memory is read in one stream: four beside each other were four
    // streams, and a processor that guesses what will be read begins each of them anew with every row.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void One(X* x, T* w0, T* w1, T* w2, T* w3, long inner, float* sums) =>
        Sum(Row(x, w0, inner), Row(x, w1, inner), Row(x, w2, inner), Row(x, w3, inner)).Store(sums);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Row(X* x, T* w, long inner)
    {
        var ahead = BytesAhead / sizeof(T);
        Vector512<float> sum = default;
        long k = 0;
        for (; k + 2 * Step <= inner; k += 2 * Step)
        {
            Sse.Prefetch0(w + k + ahead);
            if (sizeof(T) * Step == BytesOfLine)
                Sse.Prefetch0(w + k + Step + ahead);
            sum = Vector512.FusedMultiplyAdd(Elements<X>.Load(x + k), Elements<T>.Load(w + k), sum);
            sum = Vector512.FusedMultiplyAdd(Elements<X>.Load(x + k + Step), Elements<T>.Load(w + k + Step), sum);
        }

        for (; k + Step <= inner; k += Step)
            sum = Vector512.FusedMultiplyAdd(Elements<X>.Load(x + k), Elements<T>.Load(w + k), sum);
        return sum;
    }

    /// <summary>The sums over whole steps of four rows of x with four of w: sums [4, 4].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Four(
        X* x, X* x1, X* x2, X* x3, T* w0, T* w1, T* w2, T* w3, long inner, float* sums)
    {
        Vector512<float> a00 = default, a01 = default, a02 = default, a03 = default;
        Vector512<float> a10 = default, a11 = default, a12 = default, a13 = default;
        Vector512<float> a20 = default, a21 = default, a22 = default, a23 = default;
        Vector512<float> a30 = default, a31 = default, a32 = default, a33 = default;
        for (long k = 0; k + Step <= inner; k += Step)
        {
            var (v0, v1) = (Elements<T>.Load(w0 + k), Elements<T>.Load(w1 + k));
            var (v2, v3) = (Elements<T>.Load(w2 + k), Elements<T>.Load(w3 + k));
            var v = Elements<X>.Load(x + k);
            a00 = Vector512.FusedMultiplyAdd(v, v0, a00);
            a01 = Vector512.FusedMultiplyAdd(v, v1, a01);
            a02 = Vector512.FusedMultiplyAdd(v, v2, a02);
            a03 = Vector512.FusedMultiplyAdd(v, v3, a03);
            v = Elements<X>.Load(x1 + k);
            a10 = Vector512.FusedMultiplyAdd(v, v0, a10);
            a11 = Vector512.FusedMultiplyAdd(v, v1, a11);
            a12 = Vector512.FusedMultiplyAdd(v, v2, a12);
            a13 = Vector512.FusedMultiplyAdd(v, v3, a13);
            v = Elements<X>.Load(x2 + k);
            a20 = Vector512.FusedMultiplyAdd(v, v0, a20);
            a21 = Vector512.FusedMultiplyAdd(v, v1, a21);
            a22 = Vector512.FusedMultiplyAdd(v, v2, a22);
            a23 = Vector512.FusedMultiplyAdd(v, v3, a23);
            v = Elements<X>.Load(x3 + k);
            a30 = Vector512.FusedMultiplyAdd(v, v0, a30);
            a31 = Vector512.FusedMultiplyAdd(v, v1, a31);
            a32 = Vector512.FusedMultiplyAdd(v, v2, a32);
            a33 = Vector512.FusedMultiplyAdd(v, v3, a33);
        }

        Sum(a00, a01, a02, a03).Store(sums);
        Sum(a10, a11, a12, a13).Store(sums + 4);
        Sum(a20, a21, a22, a23).Store(sums + 8);
        Sum(a30, a31, a32, a33).Store(sums + 12);
    }

    // Quarters are added, then the four that are left change places and are added.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Sum(
        Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d) =>
        Sum(Quarter(a), Quarter(b), Quarter(c), Quarter(d));

    /// <summary>The sum of each of four vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sum(
        Vector128<float> a, Vector128<float> b, Vector128<float> c, Vector128<float> d)
    {
        var ab = Sse.UnpackLow(a, b) + Sse.UnpackHigh(a, b); // a0+a2 b0+b2 a1+a3 b1+b3
        var cd = Sse.UnpackLow(c, d) + Sse.UnpackHigh(c, d);
        return Sse.MoveLowToHigh(ab, cd) + Sse.MoveHighToLow(cd, ab);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Quarter(Vector512<float> values)
    {
        var half = values.GetLower() + values.GetUpper();
        return half.GetLower() + half.GetUpper();
    }
}
