using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

public static partial class torch
{
    public static partial class nn
    {
        /// <summary>Functions of layers, without state.</summary>
        public static partial class functional
        {
            /// <summary>x Wt + bias. Shapes: x [.., D], weight [O, D], bias [O] gives [.., O].</summary>
            public static Tensor linear(Tensor x, Tensor weight, Tensor? bias = null)
            {
                pt_linear(x.Handle, weight.Handle, bias?.Handle ?? TensorHandle.None, out var result);
                return new Tensor(result);
            }

            /// <summary>Rows of weight by id. Shapes: ids [..] int64, weight [V, D] gives [.., D].</summary>
            public static Tensor embedding(Tensor ids, Tensor weight)
            {
                pt_embedding(weight.Handle, ids.Handle, out var result);
                return new Tensor(result);
            }

            /// <summary>Zeroes elements with probability p and scales the others by 1 / (1 - p), while training;
            /// otherwise the
            /// input itself (a second handle).</summary>
            public static Tensor dropout(Tensor x, double p = 0.5, bool training = true, Generator? generator = null)
            {
                pt_dropout(x.Handle, training ? p : 0, Optional(generator), out var result);
                return new Tensor(result);
            }

            /// <summary>exp(x) / sum of exp(x) along dim, computed in dtype where one is given.</summary>
            public static Tensor softmax(Tensor x, long dim, ScalarType? dtype = null) => x.softmax(dim, dtype);

            /// <summary>log of softmax along dim, computed in dtype where one is given.</summary>
            public static Tensor log_softmax(Tensor x, long dim, ScalarType? dtype = null) => x.log_softmax(dim, dtype);

            /// <summary>Normalised over the last dimensions. Shapes: weight and bias like normalized_shape.</summary>
            public static Tensor layer_norm(Tensor x, ReadOnlySpan<long> normalized_shape, Tensor? weight = null,
                Tensor? bias = null, double eps = 1e-05)
            {
                pt_layer_norm(x.Handle, normalized_shape, normalized_shape.Length, weight?.Handle ?? TensorHandle.None,
                    bias?.Handle ?? TensorHandle.None, eps, out var result);
                return new Tensor(result);
            }

            /// <summary>Cross-entropy of logits. Shapes: logits [N, V], target [N] int64 gives a scalar, or [N] with
            /// None.</summary>
            public static Tensor cross_entropy(Tensor logits, Tensor target, long ignore_index = -100,
                Reduction reduction = Reduction.Mean, double label_smoothing = 0)
            {
                pt_cross_entropy(
                    logits.Handle, target.Handle, ignore_index, (int)reduction, label_smoothing, out var result);
                return new Tensor(result);
            }

            /// <summary>Negative log likelihood. Shapes: log-probabilities [N, V], target [N] int64.</summary>
            public static Tensor nll_loss(
                Tensor log_probabilities, Tensor target, long ignore_index = -100, Reduction reduction = Reduction.Mean)
            {
                pt_nll_loss(log_probabilities.Handle, target.Handle, ignore_index, (int)reduction, out var result);
                return new Tensor(result);
            }

            /// <summary>Squared differences.</summary>
            public static Tensor mse_loss(Tensor input, Tensor target, Reduction reduction = Reduction.Mean)
            {
                pt_mse_loss(input.Handle, target.Handle, (int)reduction, out var result);
                return new Tensor(result);
            }

            /// <summary>x * Phi(x); with tanh its approximation (gelu_new, gelu_pytorch_tanh).</summary>
            public static Tensor gelu(Tensor x, bool tanh = false)
            {
                pt_gelu(x.Handle, tanh, out var result);
                return new Tensor(result);
            }

            /// <summary>x * sigmoid(x).</summary>
            public static Tensor silu(Tensor x) => x.silu();

            /// <summary>max(x, 0).</summary>
            public static Tensor relu(Tensor x) => x.relu();

            /// <summary>log(1 + exp(beta x)) / beta; linear above threshold.</summary>
            public static Tensor softplus(Tensor x, double beta = 1, double threshold = 20) => x.softplus(beta, threshold);

            /// <summary>log of sigmoid.</summary>
            public static Tensor logsigmoid(Tensor x)
            {
                pt_log_sigmoid(x.Handle, out var result);
                return new Tensor(result);
            }

            /// <summary>1 at each class, else 0; int64. Shapes: [..] gives [.., num_classes].</summary>
            public static Tensor one_hot(Tensor x, long num_classes = -1)
            {
                pt_one_hot(x.Handle, num_classes, out var result);
                return new Tensor(result);
            }

            /// <summary>A value added around the last dimensions: amounts before and after, the last dimension
            /// first.</summary>
            public static Tensor pad(Tensor x, ReadOnlySpan<long> amounts, double value = 0)
            {
                pt_pad(x.Handle, amounts, amounts.Length, value, out var result);
                return new Tensor(result);
            }

            /// <summary>x / max(norm of x along dim, eps).</summary>
            public static Tensor normalize(Tensor x, double p = 2, long dim = 1, double eps = 1e-12)
            {
                using var norm = x.norm(dim, keepdim: true, p);
                using var bounded = norm.clamp(min: eps);
                return x / bounded;
            }
        }
    }
}
