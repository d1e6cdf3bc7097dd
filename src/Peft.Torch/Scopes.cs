using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Peft.Torch;

/// <summary>Where tensors die: the innermost dispose scope of a thread, and parameters, which belong to none.</summary>
public static partial class Scopes
{
    /// <summary>The innermost open scope of this thread; null where none is open.</summary>
    public static DisposeScope? Current => Innermost(OfThread(null));

    /// <summary>A leaf over the elements of a tensor, which are shared, in no dispose scope; the tensor keeps its own
    /// life.</summary>
    /// <remarks>The library's own constructor empties the given tensor, counts it as alive for ever, and its result
    /// dies with the scope.</remarks>
    public static Parameter ToParameter(this Tensor data, bool requires_grad = true)
    {
        var parameter = New(THSTensor_detach(data.Handle));
        torch.CheckForErrors();
        parameter.DetachFromDisposeScope();
        parameter.requires_grad = requires_grad;
        return parameter;
    }

    [UnsafeAccessor(UnsafeAccessorKind.Constructor)]
    private static extern Parameter New(nint handle);

    [LibraryImport("LibTorchSharp")]
    private static partial nint THSTensor_detach(nint handle);

    // The library keeps both to itself; without them, what outlives a block could not join the scope of its pass.
    [UnsafeAccessor(UnsafeAccessorKind.StaticMethod, Name = "get_ThreadSingleton")]
    private static extern DisposeScopeManager OfThread(DisposeScopeManager? type);

    [UnsafeAccessor(UnsafeAccessorKind.Method, Name = "get_CurrentDisposeScope")]
    private static extern DisposeScope? Innermost(DisposeScopeManager manager);
}
