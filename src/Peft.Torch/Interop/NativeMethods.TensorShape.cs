using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: views, copies, conversions, joining.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_to(TensorHandle self, int dtype, int deviceType, int deviceIndex,
        [MarshalAs(UnmanagedType.Bool)] bool copy, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_clone(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_detach(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_alias(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_contiguous(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_t(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_transpose(TensorHandle self, long a, long b, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_permute(TensorHandle self, ReadOnlySpan<long> dims, int dimsCount,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_reshape(TensorHandle self, ReadOnlySpan<long> shape, int shapeCount,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_view(TensorHandle self, ReadOnlySpan<long> shape, int shapeCount,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_flatten(TensorHandle self, long start, long end, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_unsqueeze(TensorHandle self, long dim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_squeeze(TensorHandle self, long dim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_squeeze_all(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_expand(TensorHandle self, ReadOnlySpan<long> shape, int shapeCount,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_repeat(TensorHandle self, ReadOnlySpan<long> counts, int countsCount,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_repeat_interleave(TensorHandle self, long count, long dim,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_repeat_interleave_each(TensorHandle self, TensorHandle counts, long dim,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_split(TensorHandle self, long size, long dim, out TensorListHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_split_sizes(TensorHandle self, ReadOnlySpan<long> sizes, int sizesCount,
        long dim, out TensorListHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_chunk(TensorHandle self, long count, long dim, out TensorListHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_cat(TensorListHandle items, long dim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_stack(TensorListHandle items, long dim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_triu(TensorHandle self, long diagonal, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tril(TensorHandle self, long diagonal, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_flip(TensorHandle self, ReadOnlySpan<long> dims, int dimsCount,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_diag(TensorHandle self, long diagonal, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_pad(TensorHandle self, ReadOnlySpan<long> amounts, int amountsCount,
        double value, out TensorHandle result);
}
