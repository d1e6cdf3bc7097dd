using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch;

/// <summary>Sixteen elements at a time, as float32, of memory that holds float, or bfloat16 as ushort. The last ones of a row, fewer than
/// sixteen, go the same way, so that a row's result does not depend on where it is cut.</summary>
internal static unsafe class Elements<T>
    where T : unmanaged
{
    public const int Count = 16;

    /// <summary>Elements a thread takes at a time: fewer cost more to share out than they take.</summary>
    private const long Share = 16384;

    /// <summary>The first of <paramref name="left"/> elements; zeros beyond the last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(T* source, long left)
    {
        if (left < Count) return LoadLast(source, left);
        return typeof(T) == typeof(ushort) ? VectorMath.FromBFloat16((ushort*)source) : Vector512.Load((float*)source);
    }

    /// <summary>Stores the first of <paramref name="left"/> elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector512<float> values, T* target, long left)
    {
        if (left < Count) StoreLast(values, target, left);
        else VectorMath.Store(values, target);
    }

    /// <summary>Rounds as storing would.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Round(Vector512<float> values)
    {
        if (typeof(T) != typeof(ushort)) return values;
        var rounded = VectorMath.ToBFloat16(values);
        return VectorMath.FromBFloat16((ushort*)&rounded);
    }

    /// <summary>Shares rows out among the threads: body(first row, end).</summary>
    public static void ForRows(long rows, long columns, Action<long, long> body)
    {
        var step = Math.Max(1, Share / Math.Max(1, columns));
        Threads.Share((rows + step - 1) / step, tasks =>
        {
            while (tasks.Next(out var task)) body(task * step, Math.Min(rows, (task + 1) * step));
        });
    }

    private static Vector512<float> LoadLast(T* source, long left)
    {
        var held = stackalloc T[Count];
        for (var i = 0; i < Count; i++) held[i] = i < left ? source[i] : default;
        return Load(held, Count);
    }

    private static void StoreLast(Vector512<float> values, T* target, long left)
    {
        var held = stackalloc T[Count];
        VectorMath.Store(values, held);
        for (var i = 0; i < left; i++) target[i] = held[i];
    }
}
