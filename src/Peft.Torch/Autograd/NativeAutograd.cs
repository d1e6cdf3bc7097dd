using System.Runtime.InteropServices;

namespace Peft.Torch;

/// <summary>What LibTorchSharp 0.107 exports for autograd nodes written in C# (its THSAutograd.h). Each reports an error through
/// <see cref="torch.CheckForErrors"/>.</summary>
internal static unsafe partial class NativeAutograd
{
    private const string Library = "LibTorchSharp";

    /// <summary>A node as C++ holds it: pointers to a shared and a weak pointer.</summary>
    internal struct NodePointers
    {
        internal nint Shared;
        internal nint Weak;
    }

    /// <summary>Pointers to tensors, passed and returned by value.</summary>
    internal struct TensorArray
    {
        internal nint* Items;
        internal long Count;
    }

    [LibraryImport(Library, EntryPoint = "THSAutograd_CSharpNode_ctor")]
    internal static partial NodePointers NewNode(nint apply, nint deleted);

    [LibraryImport(Library, EntryPoint = "THSAutograd_CSharpNode_disposeSharedPtr")]
    internal static partial void ReleaseShared(NodePointers node);

    [LibraryImport(Library, EntryPoint = "THSAutograd_CSharpNode_disposeWeakPtr")]
    internal static partial void ReleaseWeak(NodePointers node);

    [LibraryImport(Library, EntryPoint = "THSAutograd_CSharpNode_setNextEdges")]
    internal static partial void SetNextEdges(NodePointers node, TensorArray inputs, byte executable);

    [LibraryImport(Library, EntryPoint = "THSAutograd_CSharpNode_clearInputMetadata")]
    internal static partial void ClearInputMetadata(NodePointers node);

    [LibraryImport(Library, EntryPoint = "THSAutograd_Function_wrapOutputs")]
    internal static partial void WrapOutputs(TensorArray inputs, TensorArray constants, TensorArray changed, TensorArray outputs,
        NodePointers node, delegate* unmanaged<nuint, nint*> allocate);

    [LibraryImport(Library, EntryPoint = "THSAutograd_SavedVariable_ctor")]
    internal static partial nint NewSaved(nint tensor, NodePointers node, byte inPlaceOnView);

    [LibraryImport(Library, EntryPoint = "THSAutograd_SavedVariable_unpack")]
    internal static partial nint Unpack(nint saved, NodePointers node);

    [LibraryImport(Library, EntryPoint = "THSAutograd_SavedVariable_dispose")]
    internal static partial void DeleteSaved(nint saved);

    [LibraryImport(Library, EntryPoint = "THSAutograd_isGradEnabled")]
    internal static partial byte IsGradEnabled();

    [LibraryImport(Library, EntryPoint = "THSAutograd_setGrad")]
    internal static partial void SetGradEnabled(byte enabled);

    [LibraryImport("torch_cpu", EntryPoint = "aoti_torch_new_uninitialized_tensor")]
    private static partial int NewUndefined(out nint tensor);

    /// <summary>An undefined tensor: what C++ is given where there is none (its loops follow every pointer). Lives as long as the
    /// program.</summary>
    internal static readonly nint Undefined = NewUndefined(out var tensor) == 0
        ? tensor
        : throw new InvalidOperationException("libtorch made no undefined tensor");
}
