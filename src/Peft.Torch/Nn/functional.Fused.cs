using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            /// <summary>The one mixture operation: x Wt + bias + scale * ((loraInput At) o gates) Bt.</summary>
            /// <remarks>Shapes: x [.., D], weight [O, D], bias [O], a [C, D], b [O, C], gates [.., G] with one row for each row
            /// of x and C a multiple of G (gate g multiplies columns g * C / G and on) gives [.., O]. Types: a, b and gates may be
            /// float32 beside reduced x and weight. Gradient: to every input that requires one; first derivatives only.
            /// Errors: <see cref="TorchException"/> when shapes do not meet.</remarks>
            /// <param name="x">Input of the base layer.</param>
            /// <param name="weight">The base layer's weight.</param>
            /// <param name="bias">The base layer's bias.</param>
            /// <param name="a">Down projections of all experts, stacked.</param>
            /// <param name="b">Up projections of all experts, side by side.</param>
            /// <param name="gates">Gates; null means 1.</param>
            /// <param name="scale">Factor of the mixture's part.</param>
            /// <param name="loraInput">Input of the mixture where it is not x (x after dropout).</param>
            public static Tensor lora_mixture_linear(Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b,
                Tensor? gates, double scale, Tensor? loraInput = null)
            {
                pt_lora_mixture_linear(x.Handle, weight.Handle, bias?.Handle ?? TensorHandle.None, a.Handle, b.Handle,
                    gates?.Handle ?? TensorHandle.None, loraInput?.Handle ?? TensorHandle.None, scale, out var result);
                return new Tensor(result);
            }

            /// <summary>Cross-entropy of hidden Wt against targets, in blocks: the logits [M, V] never exist whole.</summary>
            /// <remarks>Shapes: hidden [M, D], weight [V, D], targets [M] int64 gives the loss of each row [M], float32 (float64 for
            /// float64). Gradient: to hidden, and to weight where it requires one (then backward computes the logits again).
            /// Errors: <see cref="TorchException"/> when a target is not in 0..V-1: leave out rows that are not learned.</remarks>
            /// <param name="hidden">Final hidden states of the learned positions.</param>
            /// <param name="weight">The head's weight.</param>
            /// <param name="targets">The right token of each row.</param>
            /// <param name="chunk_rows">Rows computed at once; 0 chooses.</param>
            /// <param name="softcap">Logits become softcap * tanh(logits / softcap); 0 = none.</param>
            public static Tensor linear_cross_entropy(
                Tensor hidden, Tensor weight, Tensor targets, int chunk_rows = 0, double softcap = 0)
            {
                pt_linear_cross_entropy(hidden.Handle, weight.Handle, targets.Handle, chunk_rows, softcap, out var result);
                return new Tensor(result);
            }

            /// <summary>weight * x / sqrt(mean(x squared) + eps); statistics in float32, rounded to x's type before the weight.</summary>
            /// <remarks>Shapes: x [.., D], weight [D] gives [.., D]. Gradient: to x and weight; first derivatives only.</remarks>
            public static Tensor rms_norm(Tensor x, Tensor weight, double eps)
            {
                pt_rms_norm(x.Handle, weight.Handle, eps, out var result);
                return new Tensor(result);
            }

            /// <summary>silu(gate) * up. Shapes: both alike. Gradient: to both, from the inputs alone; first derivatives only.</summary>
            public static Tensor swiglu(Tensor gate, Tensor up)
            {
                pt_swiglu(gate.Handle, up.Handle, out var result);
                return new Tensor(result);
            }

            /// <summary>Rotary position embedding, halves of a head as pairs: x * cos + rotate_half(x) * sin.</summary>
            /// <remarks>Shapes: x [B, T, H, d], cos and sin [B or 1, T, d] gives [B, T, H, d]; where cos and sin are narrower than
            /// d, the rest of each head passes unchanged. Gradient: to x; first derivatives only.</remarks>
            public static Tensor rotary(Tensor x, Tensor cos, Tensor sin)
            {
                pt_rotary(x.Handle, cos.Handle, sin.Handle, out var result);
                return new Tensor(result);
            }

            /// <summary>softmax(scale * q kt + additiveMask) v, where a query sees no key after its own position.</summary>
            /// <remarks>Shapes: q [B, H, T, d], k and v [B, Hkv, S, d] with H a multiple of Hkv, mask broadcast to [B, H, T, S] gives
            /// [B, H, T, d] (laid out so that transpose(1, 2) is dense). The softmax is float32 (float64 for float64); a query that
            /// sees no key gives zeros. Gradient: to q, k and v, not to the mask; first derivatives only on the CPU.
            /// Errors: <see cref="TorchException"/> when shapes or types do not meet.</remarks>
            /// <param name="q">Queries.</param>
            /// <param name="k">Keys.</param>
            /// <param name="v">Values.</param>
            /// <param name="additiveMask">Added to the scaled scores; -inf hides a key.</param>
            /// <param name="scale">Factor of the scores.</param>
            /// <param name="causal">False: every query sees every key.</param>
            /// <param name="queryOffset">Key position of the first query; null means S - T: the queries are the last positions.</param>
            /// <param name="window">Number of keys a query sees, counted back from itself; null means all.</param>
            /// <param name="softcap">Scores become softcap * tanh(scores / softcap) before the mask; null means none.</param>
            /// <param name="segments">Sequences that share rows, as pairs (first token, end) of the flattened B T tokens, in order;
            /// a query sees keys of its own sequence alone, and a token outside all of them gives zeros. Nothing is computed
            /// between two of them. Empty: each row is one sequence.</param>
            public static Tensor causal_attention(Tensor q, Tensor k, Tensor v, Tensor? additiveMask, double scale,
                bool causal = true, long? queryOffset = null, long? window = null, double? softcap = null,
                ReadOnlySpan<long> segments = default)
            {
                var offset = queryOffset ?? (causal || window is not null ? k.size(-2) - q.size(-2) : 0);
                pt_causal_attention(q.Handle, k.Handle, v.Handle, additiveMask?.Handle ?? TensorHandle.None, scale, causal, offset,
                    window ?? 0, softcap ?? 0, segments, segments.Length, out var result);
                return new Tensor(result);
            }
        }
    }
}
