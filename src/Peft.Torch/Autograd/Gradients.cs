namespace Peft.Torch;

/// <summary>Backward passes, and the gradients they leave.</summary>
public static partial class Gradients
{
    /// <summary>Adds the gradient of every leaf to its <c>grad</c>, and frees what the graph had kept as it goes. An exception of an
    /// <see cref="AutogradFunction"/> on the way comes out as it was thrown.</summary>
    /// <param name="tensor">A scalar, or any tensor together with <paramref name="gradient"/>.</param>
    /// <param name="gradient">Of the tensor; null means 1.</param>
    /// <param name="retain_graph">The graph is walked again later.</param>
    public static void backward(Tensor tensor, Tensor? gradient = null, bool retain_graph = false) =>
        backward([tensor], gradient is null ? null : [gradient], retain_graph);

    /// <summary>The same from several tensors at once.</summary>
    /// <param name="tensors">Where the pass begins.</param>
    /// <param name="gradients">One of each tensor; null means 1 of each.</param>
    /// <param name="retain_graph">The graph is walked again later.</param>
    public static void backward(IList<Tensor> tensors, IList<Tensor>? gradients, bool retain_graph = false) =>
        BackwardThread.Current.Run(retain_graph, () => torch.autograd.backward(tensors, gradients, retain_graph, create_graph: false));

    /// <summary>The gradients of some tensors, leaves or not, in their order, which stay out of every <c>grad</c>. In place of
    /// <c>torch.autograd.grad</c>, in which an error ends the process: the library catches none there.</summary>
    /// <param name="outputs">Where the pass begins.</param>
    /// <param name="inputs">Whose gradients are wanted.</param>
    /// <param name="gradients">One of each output; null means 1 of each.</param>
    /// <param name="retain_graph">The graph is walked again later.</param>
    /// <exception cref="ArgumentException">The outputs do not depend on one of the inputs.</exception>
    public static Tensor[] grad(
        IList<Tensor> outputs, IList<Tensor> inputs, IList<Tensor>? gradients = null, bool retain_graph = false)
    {
        var held = inputs.Select(input => input.grad).ToArray();
        foreach (var input in inputs) input.grad = null;
        try
        {
            BackwardThread.Current.Run(retain_graph, () =>
                torch.autograd.backward(outputs, gradients, retain_graph, create_graph: false, inputs));
            return [.. inputs.Select((input, i) => input.grad ?? throw new ArgumentException($"the outputs do not depend on input {i}"))];
        }
        finally
        {
            for (var i = 0; i < held.Length; i++) inputs[i].grad = held[i];
        }
    }
}
