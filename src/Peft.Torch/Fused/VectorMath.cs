using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Peft.Torch.Fused;

/// <summary>Functions of 512 bits at once, of float or double; narrower processors do them in halves.</summary>
internal static unsafe class VectorMath
{
    /// <summary>e^x, for float within 2 units in the last place; 0 below -87.3, so also for -inf.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<W> Exp<W>(Vector512<W> x)
    {
        if (typeof(W) == typeof(double))
            return Vector512.Exp(x.AsDouble()).As<double, W>();
        return Exp(x.AsSingle()).As<float, W>();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Exp(Vector512<float> x)
    {
        const float Low = -87.33654f, High = 88.37626f, RoundsToWhole = 12582912.0f;   // 1.5 * 2^23
        // The processor's own give the right-hand one where it is no number; Min and Max look for that themselves.
        var bounded = Vector512.MinNative(
            Vector512.Create(High), Vector512.MaxNative(Vector512.Create(Low), x));
        var shifted = Vector512.FusedMultiplyAdd(
            bounded, Vector512.Create(1.44269504088896341f), Vector512.Create(RoundsToWhole));
        var whole = shifted - Vector512.Create(RoundsToWhole);
        var rest = Vector512.FusedMultiplyAdd(whole, Vector512.Create(-0.693359375f), bounded);
        rest = Vector512.FusedMultiplyAdd(whole, Vector512.Create(2.12194440e-4f), rest);
        var p = Vector512.Create(1.9875691500e-4f);
        p = Vector512.FusedMultiplyAdd(p, rest, Vector512.Create(1.3981999507e-3f));
        p = Vector512.FusedMultiplyAdd(p, rest, Vector512.Create(8.3334519073e-3f));
        p = Vector512.FusedMultiplyAdd(p, rest, Vector512.Create(4.1665795894e-2f));
        p = Vector512.FusedMultiplyAdd(p, rest, Vector512.Create(1.6666665459e-1f));
        p = Vector512.FusedMultiplyAdd(p, rest, Vector512.Create(5.0000001201e-1f));
        p = Vector512.FusedMultiplyAdd(p, rest * rest, rest) + Vector512<float>.One;
        // The low bits of the shifted sum are the whole number itself.
        var power = ((shifted.AsInt32() + Vector512.Create(127)) << 23).AsSingle();
        return Vector512.ConditionalSelect(
            Vector512.LessThan(x, Vector512.Create(Low)), Vector512<float>.Zero, p * power);
    }

    /// <summary>tanh x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<W> Tanh<W>(Vector512<W> x)
    {
        var one = Vector512<W>.One;
        return one - (one + one) / (Exp(x + x) + one);
    }

    /// <summary>Stores 512 bits of W as they are, or 16 floats as bfloat16, rounded to nearest even, where T is
    /// ushort.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T, W>(Vector512<W> values, T* target)
        where T : unmanaged
    {
        if (typeof(T) == typeof(ushort))
            ToBFloat16(values.AsSingle()).Store((ushort*)target);
        else
            values.As<W, T>().Store(target);
    }

    /// <summary>Rounds to the nearest bfloat16, ties to even; a NaN stays one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<ushort> ToBFloat16(Vector512<float> values)
    {
        var bits = values.AsUInt32();
        var rounded = (bits + Vector512.Create(0x7fffu) + ((bits >> 16) & Vector512.Create(1u))) >> 16;
        rounded = Vector512.ConditionalSelect(
            Vector512.Equals(values, values).AsUInt32(), rounded, Vector512.Create(0x7fc0u));
        return Avx512F.IsSupported
            ? Avx512F.ConvertToVector256UInt16(rounded)
            : Vector256.Narrow(rounded.GetLower(), rounded.GetUpper());
    }

    /// <summary>16 values of bfloat16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> FromBFloat16(Vector256<ushort> bits)
    {
        var wide = Avx512F.IsSupported
            ? Avx512F.ConvertToVector512UInt32(bits)
            : Vector512.Create(Vector256.WidenLower(bits), Vector256.WidenUpper(bits));
        return (wide << 16).AsSingle();
    }

    /// <summary>Stores a row as <see cref="Store{T, W}(Vector512{W}, T*)"/> does.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Store<T, W>(W* source, long n, T* target)
        where T : unmanaged
        where W : unmanaged
    {
        long j = 0;
        for (; j + Vector512<W>.Count <= n; j += Vector512<W>.Count)
            Store(Vector512.Load(source + j), target + j);
        for (; j < n; j++)
        {
            if (typeof(T) == typeof(ushort))
                ((ushort*)target)[j] = ToBFloat16(Vector512.CreateScalar(((float*)source)[j])).ToScalar();
            else
                ((W*)target)[j] = source[j];
        }
    }

    /// <summary>Stores a row as <see cref="Store{T, W}(W*, long, T*)"/> does, or adds it to what is there and rounds
    /// once.</summary>
    public static void Finish<T>(float* source, long n, T* target, bool adds)
        where T : unmanaged
    {
        if (adds)
            Add(source, n, target);
        else
            Store(source, n, target);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add<T>(float* source, long n, T* target)
        where T : unmanaged
    {
        long j = 0;
        for (; j + Elements<T>.Count <= n; j += Elements<T>.Count)
            Store(Vector512.Load(source + j) + Elements<T>.Load(target + j), target + j);
        if (j < n)
            Last.Store(Last.Load(source + j, n - j) + Last.Load(target + j, n - j), target + j, n - j);
    }

    /// <summary>Elements of T as float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen<T>(T* source, long n, float* target)
        where T : unmanaged
    {
        long j = 0;
        for (; j + Elements<T>.Count <= n; j += Elements<T>.Count)
            Elements<T>.Load(source + j).Store(target + j);
        for (; j < n; j++)
            target[j] = Widen<T, float>(source[j]);
    }

    /// <summary>One value of T as W.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static W Widen<T, W>(T value)
        where T : unmanaged
        where W : unmanaged
    {
        if (typeof(T) != typeof(ushort))
            return *(W*)&value;
        var wide = BitConverter.UInt32BitsToSingle((uint)*(ushort*)&value << 16);
        return *(W*)&wide;
    }
}

/// <summary>Steps over one row of float or double, 512 bits at a time.</summary>
/// <remarks>Rows lie in scratch memory with room for 64 bytes after the last element: what stands there is overwritten
/// and never counts.</remarks>
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
        var inside = Vector512.LessThan(
            Vector512.CreateSequence(W.Zero, W.One), Vector512.Create(W.CreateTruncating(n - j)));
        return Vector512.ConditionalSelect(inside, values, Vector512.Create(filler));
    }
}

/// <summary>Sixteen elements as float32, of memory that holds float, or bfloat16 as ushort: all of them, or the last of
/// a row. A loop over whole ones must not hold the other case: its call would send every register through
/// memory.</summary>
internal unsafe interface IPart
{
    /// <summary>The first of <paramref name="left"/> elements; zeros beyond the last.</summary>
    static abstract Vector512<float> Load<T>(T* source, long left)
        where T : unmanaged;

    /// <summary>Stores the first of <paramref name="left"/> elements.</summary>
    static abstract void Store<T>(Vector512<float> values, T* target, long left)
        where T : unmanaged;
}

/// <summary>Sixteen elements of at least as many.</summary>
internal readonly unsafe struct Whole : IPart
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load<T>(T* source, long left)
        where T : unmanaged => Elements<T>.Load(source);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(Vector512<float> values, T* target, long left)
        where T : unmanaged => VectorMath.Store(values, target);
}

/// <summary>The last of a row, fewer than sixteen. They go the same way, so that a row's result does not depend on
/// where it is cut.</summary>
internal readonly unsafe struct Last : IPart
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load<T>(T* source, long left)
        where T : unmanaged
    {
        if (!Avx512BW.VL.IsSupported)
            return Copied(source, left);
        if (typeof(T) == typeof(float))
            return Avx512F.MaskLoad((float*)source, Inside(left).AsSingle(), Vector512<float>.Zero);
        return VectorMath.FromBFloat16(
            Avx512BW.VL.MaskLoad((ushort*)source, InsideWords(left), Vector256<ushort>.Zero));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(Vector512<float> values, T* target, long left)
        where T : unmanaged
    {
        if (!Avx512BW.VL.IsSupported)
            Copy(values, target, left);
        else if (typeof(T) == typeof(float))
            Avx512F.MaskStore((float*)target, Inside(left).AsSingle(), values);
        else
            Avx512BW.VL.MaskStore((ushort*)target, InsideWords(left), VectorMath.ToBFloat16(values));
    }

    private static Vector512<float> Copied<T>(T* source, long left)
        where T : unmanaged
    {
        var held = stackalloc T[Elements<T>.Count];
        for (var i = 0; i < Elements<T>.Count; i++) held[i] = i < left ? source[i] : default;
        return Elements<T>.Load(held);
    }

    private static void Copy<T>(Vector512<float> values, T* target, long left)
        where T : unmanaged
    {
        var held = stackalloc T[Elements<T>.Count];
        VectorMath.Store(values, held);
        for (var i = 0; i < left; i++) target[i] = held[i];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Inside(long left) =>
        Vector512.LessThan(Vector512.CreateSequence(0, 1), Vector512.Create((int)left));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<ushort> InsideWords(long left) =>
        Vector256.LessThan(Vector256.CreateSequence((ushort)0, (ushort)1), Vector256.Create((ushort)left));
}

/// <summary>Elements of float, or of bfloat16 as ushort, sixteen at a time as float32.</summary>
internal static unsafe class Elements<T>
    where T : unmanaged
{
    public const int Count = 16;

    /// <summary>Elements a thread takes at a time: fewer cost more to share out than they take.</summary>
    private const long Share = 16384;

    /// <summary>Sixteen of them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(T* source) => typeof(T) == typeof(ushort)
        ? VectorMath.FromBFloat16(Vector256.Load((ushort*)source)) : Vector512.Load((float*)source);

    /// <summary>Rounds as storing would.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Round(Vector512<float> values)
    {
        if (typeof(T) != typeof(ushort)) return values;
        return VectorMath.FromBFloat16(VectorMath.ToBFloat16(values));
    }

    /// <summary>Shares rows out among the threads: body(first row, end).</summary>
    public static void ForRows(long rows, long columns, Action<long, long> body)
    {
        var step = Math.Max(1, Share / Math.Max(1, columns));
        Threads.Share((rows + step - 1) / step, tasks =>
        {
            while (tasks.Next(out var task)) body(task * step, Math.Min(rows, (task + 1) * step));
        }, origin: body);
    }
}
