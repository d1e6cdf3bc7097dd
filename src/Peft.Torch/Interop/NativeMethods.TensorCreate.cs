using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: new tensors.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_empty(ReadOnlySpan<long> shape, int shapeCount, int dtype, int deviceType,
        int deviceIndex, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_zeros(ReadOnlySpan<long> shape, int shapeCount, int dtype, int deviceType,
        int deviceIndex, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_ones(ReadOnlySpan<long> shape, int shapeCount, int dtype, int deviceType,
        int deviceIndex, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_full(ReadOnlySpan<long> shape, int shapeCount, double value, int dtype,
        int deviceType, int deviceIndex, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_arange(double start, double stop, double step, int dtype, int deviceType,
        int deviceIndex, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_linspace(double start, double stop, long count, int dtype, int deviceType,
        int deviceIndex, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_eye(long rows, long columns, int dtype, int deviceType, int deviceIndex,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_from_bytes(ReadOnlySpan<byte> bytes, long bytesCount, ReadOnlySpan<long> shape,
        int shapeCount, int dtype, int deviceType, int deviceIndex, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_zeros_like(TensorHandle self, int dtype, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_ones_like(TensorHandle self, int dtype, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_empty_like(TensorHandle self, int dtype, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_full_like(TensorHandle self, double value, int dtype, out TensorHandle result);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_from_file(string path, long offset, ReadOnlySpan<long> shape, int shapeCount,
        int dtype, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_mapped_file_count(out long count);
}
