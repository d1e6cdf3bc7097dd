/* RMSNorm as HF Llama has it: weight * (x in float32 / rms).to(dtype). Keeps x, the weight and one number a row. */
#include <ATen/Parallel.h>

#include "fused.h"
#include "fused_simd.h"

namespace peft {
namespace fused {

namespace {

template <class T>
PEFT_INLINE T normalise(const T* x, T* out, int64_t n, T eps) {
    T sum = T(0);
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; ++j) sum += x[j] * x[j];
    const T inverse = T(1) / std::sqrt(sum / static_cast<T>(n) + eps);
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) out[j] = x[j] * inverse;
    return inverse;
}

/* dx = inverse * (dn - n * mean(dn . n)), with n = x * inverse and dn = dy * w. */
template <class T>
PEFT_INLINE void normalise_back(const T* dy, const T* x, const T* w, T inverse, T* dx, int64_t n) {
    T sum = T(0);
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; ++j) sum += dy[j] * w[j] * x[j];
    const T mean = sum * inverse * inverse / static_cast<T>(n);
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) dx[j] = inverse * (dy[j] * w[j] - x[j] * mean);
}

template <class T>
PEFT_INLINE void weigh(T* row, const T* w, int64_t n) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) row[j] *= w[j];
}

#define PEFT_NORM_ROWS(T)                                                                                        \
    PEFT_CLONES void forward_rows(const T* x, const T* w, T* out, T* inverse, int64_t rows, int64_t n, T eps) {  \
        for (int64_t i = 0; i < rows; ++i) {                                                                     \
            inverse[i] = normalise(x + i * n, out + i * n, n, eps);                                              \
            if (w != nullptr) weigh(out + i * n, w, n);                                                          \
        }                                                                                                        \
    }                                                                                                            \
    PEFT_CLONES void backward_rows(const T* dy, const T* x, const T* w, const T* inverse, T* dx, int64_t rows, int64_t n) { \
        for (int64_t i = 0; i < rows; ++i) normalise_back(dy + i * n, x + i * n, w, inverse[i], dx + i * n, n);  \
    }
PEFT_NORM_ROWS(float)
PEFT_NORM_ROWS(double)
#undef PEFT_NORM_ROWS

int64_t grain(int64_t columns) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns)); }

template <class T>
void forward_all(const Tensor& x, const Tensor& w, Tensor& out, Tensor& inverse, double eps) {
    const int64_t n = x.size(1);
    const T* source = x.data_ptr<T>();
    const T* weight = w.defined() ? w.data_ptr<T>() : nullptr;
    T* target = out.data_ptr<T>();
    T* rms = inverse.data_ptr<T>();
    at::parallel_for(0, x.size(0), grain(n), [&](int64_t begin, int64_t end) {
        forward_rows(source + begin * n, weight, target + begin * n, rms + begin, end - begin, n, static_cast<T>(eps));
    });
}

template <class T>
void backward_all(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& inverse, Tensor& dx) {
    const int64_t n = x.size(1);
    const T *gradient = dy.data_ptr<T>(), *source = x.data_ptr<T>(), *weight = w.data_ptr<T>(), *rms = inverse.data_ptr<T>();
    T* target = dx.data_ptr<T>();
    at::parallel_for(0, x.size(0), grain(n), [&](int64_t begin, int64_t end) {
        backward_rows(gradient + begin * n, source + begin * n, weight, rms + begin, target + begin * n, end - begin, n);
    });
}

struct RmsNorm : public Function<RmsNorm> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, double eps) {
        const at::ScalarType type = x.scalar_type(), wide = type == at::kDouble ? at::kDouble : at::kFloat;
        const Tensor rows = x.reshape({-1, x.size(-1)}).to(wide).contiguous();
        Tensor out, inverse;
        if (runs_loops(x)) {
            out = at::empty_like(rows);
            inverse = at::empty({rows.size(0)}, rows.options());
            /* A reduced type is rounded before the weight is applied, as HF does: then the weight is a second step. */
            const Tensor w = type == wide ? weight.to(wide).contiguous() : Tensor();
            if (wide == at::kDouble) forward_all<double>(rows, w, out, inverse, eps);
            else forward_all<float>(rows, w, out, inverse, eps);
            if (!w.defined()) out = out.to(type).mul(weight.to(type));
        } else {
            inverse = rows.square().mean(1).add_(eps).rsqrt_();
            out = rows.mul(inverse.unsqueeze(1)).to(type).mul_(weight.to(type));
        }
        if (ctx != nullptr) {
            ctx->save_for_backward({x, weight, inverse});
            ctx->saved_data["needs_x"] = x.requires_grad();
            ctx->saved_data["needs_weight"] = weight.requires_grad();
        }
        return at::_unsafe_view(out, x.sizes());
    }

    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        refuse_double_backward("rms_norm");
        variable_list result(3);
        if (!gradients[0].defined()) return result;
        const auto saved = ctx->get_saved_variables();
        const Tensor &x = saved[0], &weight = saved[1], &inverse = saved[2];
        const at::ScalarType wide = inverse.scalar_type();
        const Tensor rows = x.reshape({-1, x.size(-1)}).to(wide).contiguous();
        const Tensor dy = gradients[0].reshape({-1, x.size(-1)}).to(wide).contiguous();
        const Tensor w = weight.to(wide).contiguous();
        if (ctx->saved_data["needs_x"].toBool()) {
            Tensor dx;
            if (runs_loops(x)) {
                dx = at::empty_like(rows);
                if (wide == at::kDouble) backward_all<double>(dy, rows, w, inverse, dx);
                else backward_all<float>(dy, rows, w, inverse, dx);
            } else {
                const Tensor normal = rows.mul(inverse.unsqueeze(1)), dn = dy.mul(w);
                dx = dn.sub(normal.mul(dn.mul(normal).mean(1, true))).mul_(inverse.unsqueeze(1));
            }
            result[0] = dx.to(x.scalar_type()).view(x.sizes());
        }
        if (ctx->saved_data["needs_weight"].toBool())
            result[1] = dy.mul(rows).mul_(inverse.unsqueeze(1)).sum(0).to(weight.scalar_type());
        return result;
    }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
    TORCH_CHECK(x.dim() >= 1 && weight.dim() == 1 && x.size(-1) == weight.size(0), "x ", x.sizes(),
                " does not meet weight ", weight.sizes(), "; x is [..., D] and weight [D]");
    return run<RmsNorm>(x, weight, eps);
}

}  // namespace fused
}  // namespace peft
