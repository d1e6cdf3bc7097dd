using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using static Peft.Torch.Autograd.NativeAutograd;

namespace Peft.Torch.Autograd;

/// <summary>The engine's way back to an <see cref="AutogradFunction"/>. C++ calls a node without any argument of ours,
/// so each node needs native thunks of its own; they are dear to make and are used again when C++ has deleted the
/// node.</summary>
internal sealed unsafe class AutogradNode
{
    private static readonly ConcurrentBag<AutogradNode> Free = [];

    // Held here because C++ knows only their addresses.
    private readonly ApplyCallback _apply;
    private readonly DeletedCallback _deleted;
    private readonly nint _applyAddress;
    private readonly nint _deletedAddress;
    private AutogradFunction? _function;
    private NodePointers _pointers;

    private AutogradNode()
    {
        _apply = OnApply;
        _deleted = OnDeleted;
        _applyAddress = Marshal.GetFunctionPointerForDelegate(_apply);
        _deletedAddress = Marshal.GetFunctionPointerForDelegate(_deleted);
        GCHandle.Alloc(this);   // as long as the program: a node may be deleted by any thread at any time
    }

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    private delegate TensorArray ApplyCallback(nint* gradients, int count);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    private delegate void DeletedCallback();

    /// <summary>A node for one call.</summary>
    internal static AutogradNode Rent(AutogradFunction function)
    {
        if (!Free.TryTake(out var node)) node = new AutogradNode();
        node._function = function;
        node._pointers = NewNode(node._applyAddress, node._deletedAddress);
        torch.CheckForErrors();
        return node;
    }

    /// <summary>Ties the outputs to the inputs. Returns new handles of the outputs.</summary>
    internal nint[] Connect(Tensor?[] inputs, Tensor[] outputs)
    {
        var (sources, results) = (Handles(inputs), Handles(outputs));
        fixed (nint* source = sources, result = results)
        {
            var from = new TensorArray { Items = source, Count = sources.Length };
            SetNextEdges(_pointers, from, 1);
            torch.CheckForErrors();
            ClearInputMetadata(_pointers);
            torch.CheckForErrors();
            WrapOutputs(
                from, default, default, new TensorArray { Items = result, Count = results.Length }, _pointers,
                &Allocate);
            torch.CheckForErrors();
        }

        return new Span<nint>(BackwardThread.Current.Buffer(outputs.Length), outputs.Length).ToArray();
    }

    /// <summary>Saves a tensor with its version; 0 for none.</summary>
    internal nint Keep(Tensor? tensor)
    {
        if (tensor is null) return 0;
        var saved = NewSaved(tensor.Handle, _pointers, 0);
        torch.CheckForErrors();
        return saved;
    }

    /// <summary>A saved tensor. Errors: it was changed in place since.</summary>
    internal Tensor? Unpack(nint saved)
    {
        if (saved == 0) return null;
        var handle = NativeAutograd.Unpack(saved, _pointers);
        torch.CheckForErrors();
        return Tensor.UnsafeCreateTensor(handle);
    }

    /// <summary>Gives up the share of the maker.</summary>
    internal void ReleaseShared() => NativeAutograd.ReleaseShared(_pointers);

    private static nint[] Handles(Tensor?[] tensors) =>
        Array.ConvertAll(tensors, tensor => tensor?.Handle ?? Undefined);

    [UnmanagedCallersOnly]
    private static nint* Allocate(nuint count) => BackwardThread.Current.Buffer((int)count);

    /// <summary>No exception may leave this method: C++ would end the process. No gradients at all make the engine
    /// report an error, so that a backward pass which failed is never taken for one that did not.</summary>
    private TensorArray OnApply(nint* gradients, int count)
    {
        var thread = BackwardThread.Current;
        thread.FreeReturned();
        try
        {
            using var scope = torch.NewDisposeScope();
            var incoming = new Tensor?[count];
            for (var i = 0; i < count; i++)
                incoming[i] = gradients[i] == 0 ? null : Tensor.UnsafeCreateTensor(gradients[i]);
            var outgoing = _function!.Differentiate(incoming, thread.KeepGraph, scope);
            var buffer = thread.Buffer(outgoing.Length);
            for (var i = 0; i < outgoing.Length; i++)
                buffer[i] = outgoing[i] is { } tensor ? thread.Return(tensor) : Undefined;
            return new TensorArray { Items = buffer, Count = outgoing.Length };
        }
        catch (Exception error)
        {
            thread.Fail(error);
            return default;
        }
    }

    private void OnDeleted()
    {
        _function?.Release();
        _function = null;
        ReleaseWeak(_pointers);
        _pointers = default;
        Free.Add(this);
    }
}

/// <summary>What LibTorchSharp 0.107 exports for autograd nodes written in C# (its THSAutograd.h). Each reports an
/// error through <see cref="torch.CheckForErrors"/>.</summary>
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
    internal static partial void WrapOutputs(
        TensorArray inputs, TensorArray constants, TensorArray changed, TensorArray outputs,
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

    /// <summary>How often a tensor was changed in place: at::TensorBase::_version, which the binding lacks.</summary>
    [LibraryImport("torch_cpu", EntryPoint = "_ZNK2at10TensorBase8_versionEv")]
    internal static partial long VersionOf(nint tensor);

    /// <summary>Counts a change in place: torch::autograd::impl::bump_version, for operations that forget to.</summary>
    [LibraryImport("torch_cpu", EntryPoint = "_ZN5torch8autograd4impl12bump_versionERKN2at6TensorE")]
    internal static partial void BumpVersion(nint tensor);

    [LibraryImport("torch_cpu", EntryPoint = "aoti_torch_new_uninitialized_tensor")]
    private static partial int NewUndefined(out nint tensor);

    /// <summary>An undefined tensor: what C++ is given where there is none (its loops follow every pointer). Lives as
    /// long as the program.</summary>
    internal static readonly nint Undefined = NewUndefined(out var tensor) == 0
        ? tensor
        : throw new InvalidOperationException("libtorch made no undefined tensor");
}
