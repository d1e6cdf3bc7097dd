using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: gradients.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_get_grad_enabled([MarshalAs(UnmanagedType.Bool)] out bool on);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_set_grad_enabled([MarshalAs(UnmanagedType.Bool)] bool on);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_requires_grad(TensorHandle self,
        [MarshalAs(UnmanagedType.Bool)] out bool value);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_set_requires_grad(TensorHandle self,
        [MarshalAs(UnmanagedType.Bool)] bool on);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_is_leaf(TensorHandle self,
        [MarshalAs(UnmanagedType.Bool)] out bool value);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_grad(TensorHandle self, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_set_grad(TensorHandle self, TensorHandle grad);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_tensor_retain_grad(TensorHandle self);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_backward(TensorHandle self, TensorHandle gradient,
        [MarshalAs(UnmanagedType.Bool)] bool retainGraph, [MarshalAs(UnmanagedType.Bool)] bool createGraph);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_backward_list(TensorListHandle items, TensorListHandle gradients,
        [MarshalAs(UnmanagedType.Bool)] bool retainGraph, [MarshalAs(UnmanagedType.Bool)] bool createGraph);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_grad(TensorListHandle outputs, TensorListHandle inputs,
        TensorListHandle gradOutputs, [MarshalAs(UnmanagedType.Bool)] bool retainGraph,
        [MarshalAs(UnmanagedType.Bool)] bool createGraph, [MarshalAs(UnmanagedType.Bool)] bool allowUnused,
        out TensorListHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_zero_grad(TensorListHandle items);
}
