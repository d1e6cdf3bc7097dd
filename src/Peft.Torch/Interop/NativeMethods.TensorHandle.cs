using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: handles, properties, bytes in and out.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_free(nint handle);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_dim(TensorHandle self, out long dim);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_shape(TensorHandle self, Span<long> sizes, int sizesCount);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_strides(TensorHandle self, Span<long> strides, int stridesCount);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_numel(TensorHandle self, out long count);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_dtype(TensorHandle self, out int dtype);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_device(TensorHandle self, out int deviceType, out int deviceIndex);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_is_contiguous(TensorHandle self,
        [MarshalAs(UnmanagedType.Bool)] out bool value);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_address(TensorHandle self, out long address);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_read(TensorHandle self, Span<byte> bytes, long bytesCount);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_write(TensorHandle self, ReadOnlySpan<byte> bytes, long bytesCount);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_item_double(TensorHandle self, out double value);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_item_int64(TensorHandle self, out long value);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_set_data(TensorHandle self, TensorHandle data);
}
