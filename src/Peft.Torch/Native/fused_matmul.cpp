/* Products of frozen weights: which type they are computed in, and the row kernels for reduced types. */
#include <ATen/Parallel.h>

#include <atomic>
#include <vector>

#include "fused.h"
#include "fused_gemm.h"
#include "fused_simd.h"

namespace peft {
namespace fused {

namespace {

std::atomic<bool> loops_enabled{true};

bool is_reduced(at::ScalarType type) { return type == at::kBFloat16 || type == at::kHalf; }

bool has_fast_bf16() {
#if defined(__x86_64__) && defined(__GNUC__)
    static const bool fast = __builtin_cpu_supports("avx512bf16");
    return fast;
#else
    return false;
#endif
}

/* out[o] = x . w[o] for one row; bf16 is the upper half of a float32. */
PEFT_CLONES void dot_rows_bf16(const float* x, const uint16_t* w, float* out, int64_t rows, int64_t columns) {
    for (int64_t o = 0; o < rows; ++o) {
        const uint16_t* row = w + o * columns;
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < columns; ++j) {
            const uint32_t bits = static_cast<uint32_t>(row[j]) << 16;
            float value;
            std::memcpy(&value, &bits, sizeof value);
            sum += x[j] * value;
        }
        out[o] = sum;
    }
}

/* Decoding: a few rows against a bf16 weight. Widening the weight first would read and write it three times over. */
constexpr int64_t FewRows = 4;

/* x float32 [n, D] -> out float32 [n, O]. */
void few_rows_bf16(const float* x, const Tensor& weight, float* out, int64_t n) {
    const int64_t columns = weight.size(1), outputs = weight.size(0);
    const uint16_t* w = reinterpret_cast<const uint16_t*>(weight.data_ptr<at::BFloat16>());
    at::parallel_for(0, outputs, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, columns)), [&](int64_t begin, int64_t end) {
        for (int64_t i = 0; i < n; ++i)
            dot_rows_bf16(x + i * columns, w + begin * columns, out + i * outputs + begin, end - begin, columns);
    });
}

bool is_plain_bf16(const Tensor& tensor) {
    return tensor.scalar_type() == at::kBFloat16 && tensor.device().is_cpu() && tensor.is_contiguous();
}

}  // namespace

void set_loops_enabled(bool enabled) { loops_enabled.store(enabled); }

bool runs_loops(const Tensor& tensor) {
    const at::ScalarType type = tensor.scalar_type();
    return loops_enabled.load(std::memory_order_relaxed) && tensor.device().is_cpu() &&
           (type == at::kFloat || type == at::kDouble || is_reduced(type));
}

at::ScalarType compute_type(const Tensor& tensor) {
    const at::ScalarType type = tensor.scalar_type();
    if (!tensor.device().is_cpu() || !is_reduced(type)) return type;
    return type == at::kBFloat16 && has_fast_bf16() ? type : at::kFloat;
}

Tensor linear_rows(const Tensor& x, const Tensor& weight, const Tensor& bias, at::ScalarType compute) {
    if (compute == at::kFloat && weight.scalar_type() == at::kBFloat16 && x.device().is_cpu() && x.size(0) <= FewRows &&
        weight.is_contiguous()) {
        const Tensor rows = x.contiguous();
        Tensor y = at::empty({rows.size(0), weight.size(0)}, rows.options());
        few_rows_bf16(rows.data_ptr<float>(), weight, y.data_ptr<float>(), rows.size(0));
        if (bias.defined()) y.add_(bias.to(compute));
        return y;
    }
    const Tensor w = weight.to(compute);
    Tensor y = product(x, w.t());
    if (bias.defined()) y.add_(bias.to(compute));
    return y;
}

Tensor few_rows_linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
    const int64_t columns = weight.size(1), outputs = weight.size(0), n = x.numel() / std::max<int64_t>(1, columns);
    if (bias.defined() || n > FewRows || has_fast_bf16() || !is_plain_bf16(x) || !is_plain_bf16(weight)) return Tensor();
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = outputs;
    Tensor y = at::empty(shape, x.options());
    const at::BFloat16* source = x.data_ptr<at::BFloat16>();
    at::BFloat16* target = y.data_ptr<at::BFloat16>();
    std::vector<float> wide(source, source + n * columns), out(n * outputs);
    few_rows_bf16(wide.data(), weight, out.data(), n);
    std::copy(out.begin(), out.end(), target);
    return y;
}

void refuse_double_backward(const char* operation) {
    TORCH_CHECK(!at::GradMode::is_enabled(), operation, ": a second derivative was asked for; only first derivatives exist; ",
                "call backward without create_graph");
}

}  // namespace fused
}  // namespace peft
