using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: sums, extrema, sorting.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_sum(TensorHandle self, int dtype, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_sum_dim(TensorHandle self, ReadOnlySpan<long> dims, int dimsCount,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, int dtype, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_mean(TensorHandle self, int dtype, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_mean_dim(TensorHandle self, ReadOnlySpan<long> dims, int dimsCount,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, int dtype, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_prod(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_amax(TensorHandle self, ReadOnlySpan<long> dims, int dimsCount,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_amin(TensorHandle self, ReadOnlySpan<long> dims, int dimsCount,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_max(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_min(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_max_dim(TensorHandle self, long dim,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, out TensorHandle values, out TensorHandle indices);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_min_dim(TensorHandle self, long dim,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, out TensorHandle values, out TensorHandle indices);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_argmax(TensorHandle self, long dim,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_argmin(TensorHandle self, long dim,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_std(TensorHandle self, [MarshalAs(UnmanagedType.Bool)] bool unbiased,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_std_dim(TensorHandle self, ReadOnlySpan<long> dims, int dimsCount,
        [MarshalAs(UnmanagedType.Bool)] bool unbiased, [MarshalAs(UnmanagedType.Bool)] bool keepdim,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_var(TensorHandle self, [MarshalAs(UnmanagedType.Bool)] bool unbiased,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_var_dim(TensorHandle self, ReadOnlySpan<long> dims, int dimsCount,
        [MarshalAs(UnmanagedType.Bool)] bool unbiased, [MarshalAs(UnmanagedType.Bool)] bool keepdim,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_norm(TensorHandle self, double p, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_norm_dim(TensorHandle self, double p, ReadOnlySpan<long> dims, int dimsCount,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_logsumexp(TensorHandle self, ReadOnlySpan<long> dims, int dimsCount,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_cumsum(TensorHandle self, long dim, int dtype, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_topk(TensorHandle self, long k, long dim,
        [MarshalAs(UnmanagedType.Bool)] bool largest, [MarshalAs(UnmanagedType.Bool)] bool sorted,
        out TensorHandle values, out TensorHandle indices);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_sort(TensorHandle self, long dim,
        [MarshalAs(UnmanagedType.Bool)] bool descending, [MarshalAs(UnmanagedType.Bool)] bool stable,
        out TensorHandle values, out TensorHandle indices);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_any(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_any_dim(TensorHandle self, long dim,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_all(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_all_dim(TensorHandle self, long dim,
        [MarshalAs(UnmanagedType.Bool)] bool keepdim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_all_finite(TensorListHandle items,
        [MarshalAs(UnmanagedType.Bool)] out bool value);
}
