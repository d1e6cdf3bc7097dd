using Peft.Torch.Interop;

namespace Peft.Torch;

/// <summary>A tensor that a module owns and an optimizer may change. Never a member of a dispose scope.</summary>
public sealed class Parameter : Tensor
{
    /// <summary>A leaf over the elements of a tensor, which are shared, not copied; the given tensor keeps its own
    /// life.</summary>
    public Parameter(Tensor data, bool requires_grad = true)
        : base(Leaf(data), joinScope: false)
    {
        if (requires_grad) this.requires_grad = true;
    }

    private static TensorHandle Leaf(Tensor data)
    {
        NativeMethods.pt_detach(data.Handle, out var handle);
        return handle;
    }
}
