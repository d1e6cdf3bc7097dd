using System.Runtime.InteropServices;

namespace Peft.Torch.Natives;

/// <summary>Addresses of tensors' elements, for code that keeps the tensor alive meanwhile.</summary>
public static unsafe partial class TensorMemory
{
    /// <summary>The address of a CPU tensor's first element. It holds while the tensor lives.</summary>
    public static nint Address(this Tensor tensor) => THSTensor_data(tensor.Handle);

    /// <summary>The first element of a tensor on the CPU, its offset in the storage counted; null for none.</summary>
    internal static T* Of<T>(Tensor? tensor)
        where T : unmanaged => tensor is null ? null : (T*)tensor.Address();

    /// <summary>The tensor in a type: itself where it has it, without the cost of an operation.</summary>
    internal static Tensor As(this Tensor tensor, ScalarType type) => tensor.dtype == type ? tensor : tensor.to(type);

    /// <summary>The tensor row by row in memory: itself where it lies so, without the cost of an operation.</summary>
    internal static Tensor Dense(this Tensor tensor) => tensor.is_contiguous() ? tensor : tensor.contiguous();

    // The library's Storage.data_ptr ended in a corrupted heap; this export gives the address, offset included.
    [LibraryImport("LibTorchSharp")]
    private static partial nint THSTensor_data(nint handle);
}

/// <summary>Memory that one thread works in, 64 bytes aligned, not cleared.</summary>
internal readonly unsafe struct Scratch<T>(long count) : IDisposable
    where T : unmanaged
{
    public readonly T* Pointer = (T*)NativeMemory.AlignedAlloc((nuint)(Math.Max(1, count) * sizeof(T)), 64);

    public void Dispose() => NativeMemory.AlignedFree(Pointer);
}

/// <summary>Memory that several calls in turn work in. It grows to what the largest needs and stays until the end:
/// fresh pages cost more than what is written to them.</summary>
public sealed unsafe class WorkMemory : IDisposable
{
    private void* _held;
    private long _size;

    /// <inheritdoc/>
    public void Dispose() => NativeMemory.AlignedFree(_held);

    /// <summary>Room for elements, 64 bytes aligned, not cleared; what was taken before is no longer valid.</summary>
    internal T* Take<T>(long count)
        where T : unmanaged
    {
        if (count * sizeof(T) > _size)
        {
            NativeMemory.AlignedFree(_held);
            _held = null;
            _size = count * sizeof(T);
            _held = NativeMemory.AlignedAlloc((nuint)_size, 64);
        }

        return (T*)_held;
    }
}
