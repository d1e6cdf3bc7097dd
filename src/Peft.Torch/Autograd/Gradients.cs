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
}
