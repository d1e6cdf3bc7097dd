/* The fused operations as C++ functions; fused_api.cpp gives them C names. Shape letters: N rows, D input, O output features,
   C = experts * rank stacked columns, G gates a row, M learned rows, V vocabulary, B batch, T queries, S keys, H heads, d head size. */
#ifndef PEFT_TORCH_FUSED_INTERNAL_H
#define PEFT_TORCH_FUSED_INTERNAL_H

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "version.h"

namespace peft {
namespace fused {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/* An optional input of a Function: these know a missing tensor only as an empty optional. */
using Optional = maybe<Tensor>;
inline Optional optional(const Tensor& tensor) { return tensor.defined() ? Optional(tensor) : Optional(); }
inline Tensor tensor_of(const Optional& tensor) { return tensor.has_value() ? *tensor : Tensor(); }

/* Runs a Function; where no graph is built only its forward, without the node that a graph would need (decoding a token is
   some hundred small operations). A forward gets no context then. */
template <class F, class... Arguments>
Tensor run(const Arguments&... arguments) {
    return at::GradMode::is_enabled() ? F::apply(arguments...) : F::forward(nullptr, arguments...);
}

/* Tests and benchmarks switch the loops off to compare with the composed form, which is what other devices run. */
void set_loops_enabled(bool enabled);

/* True where this shim's own loops run: CPU tensors of a floating type. */
bool runs_loops(const Tensor& tensor);

/* The type a product of this tensor is computed in: its own, except that a reduced type on a CPU without bf16 instructions
   is computed in float32 (libtorch's own loops for it are two orders slower) and rounded once. */
at::ScalarType compute_type(const Tensor& tensor);

/* x Wt + bias in compute type; x [N,D] already in it, weight [O,D] and bias [O] in any type. */
Tensor linear_rows(const Tensor& x, const Tensor& weight, const Tensor& bias, at::ScalarType compute);

/* x Wt + bias for a few rows of bf16 against a bf16 weight on a CPU, in one pass from bf16 to bf16; undefined where that does not apply. */
Tensor few_rows_linear(const Tensor& x, const Tensor& weight, const Tensor& bias);

/* Backward formulas here are not differentiable themselves: saying so beats a silently wrong second derivative. */
void refuse_double_backward(const char* operation);

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);
Tensor lora_mixture_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& a, const Tensor& b,
                           const Tensor& gates, const Tensor& lora_input, double scale);
Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets, int64_t chunk_rows,
                            double softcap);
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);
Tensor swiglu(const Tensor& gate, const Tensor& up);
Tensor rotary(const Tensor& x, const Tensor& cos, const Tensor& sin);

struct AttentionOptions {
    double scale;
    bool causal;
    int64_t offset;    /* query i stands at key position offset + i */
    int64_t window;    /* keys seen back from the query, itself included; 0 = all */
    double softcap;    /* scores become softcap * tanh(scores / softcap); 0 = none */
    /* Sequences that share rows, as pairs [first, end) of the flattened B * T tokens in order; empty = each row is one. A query
       sees keys of its own sequence alone; a token outside all of them (padding) sees none. */
    std::vector<int64_t> segments;
};
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const AttentionOptions& options);

}  // namespace fused
}  // namespace peft

#endif
