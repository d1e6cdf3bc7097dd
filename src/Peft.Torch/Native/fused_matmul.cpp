/* Products of frozen weights: which type they are computed in, and the row kernels for reduced types. */
#include <ATen/Parallel.h>

#include <atomic>
#include <vector>

#include "fused.h"
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

Tensor few_rows_bf16(const Tensor& x, const Tensor& weight) {
    const Tensor rows = x.contiguous();
    const int64_t n = rows.size(0), columns = rows.size(1), outputs = weight.size(0);
    Tensor y = at::empty({n, outputs}, rows.options());
    const float* source = rows.data_ptr<float>();
    const uint16_t* w = reinterpret_cast<const uint16_t*>(weight.data_ptr<at::BFloat16>());
    float* target = y.data_ptr<float>();
    at::parallel_for(0, outputs, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, columns)), [&](int64_t begin, int64_t end) {
        for (int64_t i = 0; i < n; ++i)
            dot_rows_bf16(source + i * columns, w + begin * columns, target + i * outputs + begin, end - begin, columns);
    });
    return y;
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
        Tensor y = few_rows_bf16(x, weight);
        if (bias.defined()) y.add_(bias.to(compute));
        return y;
    }
    const Tensor w = weight.to(compute);
    return bias.defined() ? at::addmm(bias.to(compute), x, w.t()) : at::mm(x, w.t());
}

void refuse_double_backward(const char* operation) {
    TORCH_CHECK(!at::GradMode::is_enabled(), operation, ": a second derivative was asked for; only first derivatives exist; ",
                "call backward without create_graph");
}

}  // namespace fused
}  // namespace peft
