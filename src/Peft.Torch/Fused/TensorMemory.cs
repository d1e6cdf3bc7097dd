using System.Runtime.InteropServices;

namespace Peft.Torch;

/// <summary>Addresses of tensors' elements, for kernels that keep the tensor alive meanwhile.</summary>
internal static unsafe class TensorMemory
{
    /// <summary>The first element of a tensor on the CPU, its offset in the storage counted; null for none.</summary>
    public static T* Of<T>(Tensor? tensor)
        where T : unmanaged => tensor is null ? null : (T*)tensor.Address();

    /// <summary>The tensor in a type: itself where it has it, without the cost of an operation.</summary>
    public static Tensor As(this Tensor tensor, ScalarType type) => tensor.dtype == type ? tensor : tensor.to(type);

    /// <summary>The tensor row by row in memory: itself where it lies so, without the cost of an operation.</summary>
    public static Tensor Dense(this Tensor tensor) => tensor.is_contiguous() ? tensor : tensor.contiguous();
}

/// <summary>Memory that one thread works in, 64 bytes aligned, not cleared.</summary>
internal readonly unsafe struct Scratch<T>(long count) : IDisposable
    where T : unmanaged
{
    public readonly T* Pointer = (T*)NativeMemory.AlignedAlloc((nuint)(Math.Max(1, count) * sizeof(T)), 64);

    public void Dispose() => NativeMemory.AlignedFree(Pointer);
}
