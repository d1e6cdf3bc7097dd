using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Recording operations for gradients.
public static partial class torch
{
    /// <summary>Records nothing on this thread until disposed.</summary>
    public static IDisposable no_grad() => new GradientMode(false);

    /// <summary>Records on this thread until disposed.</summary>
    public static IDisposable enable_grad(bool enabled = true) => new GradientMode(enabled);

    /// <summary>Whether this thread records.</summary>
    public static bool is_grad_enabled()
    {
        pt_get_grad_enabled(out var on);
        return on;
    }

    /// <summary>Gradients asked for directly.</summary>
    public static class autograd
    {
        /// <summary>Accumulates gradients into the leaves, from several tensors at once.</summary>
        /// <remarks>Shapes: each gradient like its tensor.</remarks>
        /// <param name="tensors">What is differentiated.</param>
        /// <param name="grad_tensors">The gradient of each of them.</param>
        public static void backward(IEnumerable<Tensor> tensors, IEnumerable<Tensor> grad_tensors)
        {
            using var from = TensorListHandle.Of(tensors);
            using var given = TensorListHandle.Of(grad_tensors);
            pt_backward_list(from, given, retainGraph: false, createGraph: false);
        }

        /// <summary>Gradients of the outputs with respect to the inputs, without touching any <c>grad</c>.</summary>
        /// <param name="outputs">What is differentiated.</param>
        /// <param name="inputs">With respect to what.</param>
        /// <param name="grad_outputs">Gradients of the outputs; may be left out where they are scalars.</param>
        /// <param name="retain_graph">Keeps what backward needs for another call.</param>
        /// <param name="create_graph">Records the gradients' own computation.</param>
        /// <param name="materialize_grads">An input that is not used has a gradient of zeros; otherwise it is an
        /// error.</param>
        public static Tensor[] grad(IEnumerable<Tensor> outputs, IEnumerable<Tensor> inputs,
            IEnumerable<Tensor>? grad_outputs = null, bool retain_graph = false, bool create_graph = false,
            bool materialize_grads = false)
        {
            var leaves = inputs.ToArray();
            using var from = TensorListHandle.Of(outputs);
            using var to = TensorListHandle.Of(leaves);
            var given = grad_outputs is null ? null : TensorListHandle.Of(grad_outputs);
            try
            {
                pt_grad(from, to, given ?? TensorListHandle.None, retain_graph, create_graph, materialize_grads, out var list);
                using (list)
                {
                    var found = list.ToTensors();
                    return [.. found.Select((gradient, i) => gradient ?? zeros_like(leaves[i]))];
                }
            }
            finally
            {
                given?.Dispose();
            }
        }
    }

    private sealed class GradientMode : IDisposable
    {
        private readonly bool _before = is_grad_enabled();
        private bool _ended;

        internal GradientMode(bool enabled) => pt_set_grad_enabled(enabled);

        public void Dispose()
        {
            if (_ended) return;
            _ended = true;
            pt_set_grad_enabled(_before);
        }
    }
}
