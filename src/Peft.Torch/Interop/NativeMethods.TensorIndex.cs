using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: selecting and placing elements.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_narrow(TensorHandle self, long dim, long start, long length,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_slice(TensorHandle self, long dim, long start, long stop, long step,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_select(TensorHandle self, long dim, long index, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_index_select(TensorHandle self, long dim, TensorHandle index,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_gather(TensorHandle self, long dim, TensorHandle index,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_scatter(TensorHandle self, long dim, TensorHandle index, TensorHandle source,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_scatter_value(TensorHandle self, long dim, TensorHandle index, double value,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_scatter_add(TensorHandle self, long dim, TensorHandle index,
        TensorHandle source, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_index_add(TensorHandle self, long dim, TensorHandle index, TensorHandle source,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_scatter_(TensorHandle self, long dim, TensorHandle index, TensorHandle source);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_scatter_value_(TensorHandle self, long dim, TensorHandle index, double value);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_index_copy_(TensorHandle self, long dim, TensorHandle index,
        TensorHandle source);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_index_add_(TensorHandle self, long dim, TensorHandle index,
        TensorHandle source);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_masked_fill_(TensorHandle self, TensorHandle mask, double value);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_masked_fill(TensorHandle self, TensorHandle mask, double value,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_masked_select(TensorHandle self, TensorHandle mask, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_where(TensorHandle condition, TensorHandle a, TensorHandle b,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_nonzero(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_one_hot(TensorHandle self, long classes, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_bincount(TensorHandle self, TensorHandle weights, long minlength,
        out TensorHandle result);
}
