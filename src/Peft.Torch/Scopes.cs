using System.Runtime.CompilerServices;

namespace Peft.Torch;

/// <summary>Where tensors die: the innermost dispose scope of a thread, and parameters, which belong to none.</summary>
public static class Scopes
{
    /// <summary>The innermost open scope of this thread; null where none is open.</summary>
    public static DisposeScope? Current => Innermost(OfThread(null));

    /// <summary>A leaf over the elements of a tensor, which are shared, in no dispose scope; the tensor keeps its own life.</summary>
    /// <remarks>The library's constructor would empty the given tensor, and its result would die with the scope.</remarks>
    public static Parameter ToParameter(this Tensor data, bool requires_grad = true)
    {
        using var outside = torch.no_grad();
        var parameter = new Parameter(data.detach(), requires_grad);
        parameter.DetachFromDisposeScope();
        return parameter;
    }

    // The library keeps both to itself; without them, what outlives a block could not join the scope of its pass.
    [UnsafeAccessor(UnsafeAccessorKind.StaticMethod, Name = "get_ThreadSingleton")]
    private static extern DisposeScopeManager OfThread(DisposeScopeManager? type);

    [UnsafeAccessor(UnsafeAccessorKind.Method, Name = "get_CurrentDisposeScope")]
    private static extern DisposeScope? Innermost(DisposeScopeManager manager);
}
