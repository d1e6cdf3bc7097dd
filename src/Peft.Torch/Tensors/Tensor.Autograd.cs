using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Gradients.
public partial class Tensor
{
    /// <summary>Whether gradients flow to this tensor. Errors: set on a tensor that is no leaf, or not floating
    /// point.</summary>
    public bool requires_grad
    {
        get
        {
            pt_tensor_requires_grad(Handle, out var value);
            return value;
        }

        set => pt_tensor_set_requires_grad(Handle, value);
    }

    /// <summary>Whether the tensor was made by hand, not by a recorded operation.</summary>
    public bool is_leaf
    {
        get
        {
            pt_tensor_is_leaf(Handle, out var value);
            return value;
        }
    }

    /// <summary>The gradient that backward accumulated; null where there is none. Each reading gives a new handle of
    /// it.
    /// Setting replaces it; null removes it.</summary>
    public Tensor? grad
    {
        get
        {
            pt_tensor_grad(Handle, out var gradient);
            return gradient.IsInvalid ? null : new Tensor(gradient);
        }

        set => pt_tensor_set_grad(Handle, Optional(value));
    }

    /// <summary>Asks for a gradient, or no longer.</summary>
    public Tensor requires_grad_(bool requires_grad = true)
    {
        this.requires_grad = requires_grad;
        return this;
    }

    /// <summary>Adds to the gradient, as backward would.</summary>
    public void add_to_grad(Tensor gradient)
    {
        using var held = grad;
        if (held is null)
        {
            using var own = gradient.detach();
            using var copy = own.clone();
            grad = copy;
            return;
        }
        using var off = torch.no_grad();
        held.add_(gradient);
    }

    /// <summary>Removes the gradient.</summary>
    public void zero_grad() => pt_tensor_set_grad(Handle, TensorHandle.None);

    /// <summary>Keeps the gradient of a tensor that is no leaf.</summary>
    public void retain_grad() => pt_tensor_retain_grad(Handle);

    /// <summary>Accumulates gradients into the leaves. Errors: not a scalar; nothing recorded.</summary>
    public void backward(bool retain_graph = false, bool create_graph = false) =>
        pt_backward(Handle, TensorHandle.None, retain_graph, create_graph);

    /// <summary>Accumulates gradients into the leaves, from this gradient of the tensor. Shapes: gradient like the
    /// tensor.</summary>
    public void backward(Tensor gradient, bool retain_graph = false, bool create_graph = false) =>
        pt_backward(Handle, gradient.Handle, retain_graph, create_graph);

    /// <summary>Makes this tensor hold another one's elements (their type, device and shape), staying the same
    /// leaf.</summary>
    public void set_data(Tensor data) => pt_tensor_set_data(Handle, data.Handle);
}
