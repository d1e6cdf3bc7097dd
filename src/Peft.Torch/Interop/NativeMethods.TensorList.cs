using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: lists of tensors.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_list_new(out TensorListHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_list_free(nint handle);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_list_add(TensorListHandle self, TensorHandle item);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_list_count(TensorListHandle self, out long count);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_list_get(TensorListHandle self, long index, out TensorHandle result);
}
