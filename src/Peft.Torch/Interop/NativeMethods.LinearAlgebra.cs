using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: decompositions and norms.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_svd(TensorHandle self, [MarshalAs(UnmanagedType.Bool)] bool fullMatrices,
        out TensorHandle u, out TensorHandle s, out TensorHandle vh);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_eigh(TensorHandle self, out TensorHandle values, out TensorHandle vectors);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_qr(TensorHandle self, out TensorHandle q, out TensorHandle r);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_vector_norm(TensorHandle self, double order, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_vector_norm_dim(TensorHandle self, double order, ReadOnlySpan<long> dims,
        int dimsCount, [MarshalAs(UnmanagedType.Bool)] bool keepdim, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_solve(TensorHandle a, TensorHandle b, out TensorHandle result);
}
