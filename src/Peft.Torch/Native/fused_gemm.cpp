/* Products of whole matrices on all threads. */
#include "fused_gemm.h"

/* Weak: a libtorch that carries its oneDNN inside exports no such name; at::mm then serves. */
extern "C" int dnnl_sgemm(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
                          const float* b, int64_t ldb, float beta, float* c, int64_t ldc) __attribute__((weak));

namespace peft {
namespace fused {

namespace {

constexpr int Success = 0;

/* How a matrix lies in memory: row by row, or as the transpose of one that does. */
struct Layout {
    char transposed;
    int64_t step;
};

bool is_dense(const at::Tensor& m, int64_t inner, int64_t outer) {
    return m.stride(inner) == 1 && m.stride(outer) >= std::max<int64_t>(1, m.size(inner));
}

Layout layout_of(const at::Tensor& m) {
    if (is_dense(m, 1, 0)) return {'N', m.stride(0)};
    return {'T', m.stride(1)};
}

at::Tensor dense(const at::Tensor& m) { return is_dense(m, 1, 0) || is_dense(m, 0, 1) ? m : m.contiguous(); }

bool is_served(const at::Tensor& a, const at::Tensor& b) {
    const auto fits = [](const at::Tensor& m) {
        return m.scalar_type() == at::kFloat && m.device().is_cpu() && m.dim() == 2 && m.numel() > 0;
    };
    return dnnl_sgemm != nullptr && fits(a) && fits(b);
}

bool multiply(const at::Tensor& a, const at::Tensor& b, float alpha, float beta, at::Tensor& out) {
    const at::Tensor left = dense(a), right = dense(b);
    const Layout l = layout_of(left), r = layout_of(right);
    return dnnl_sgemm(l.transposed, r.transposed, left.size(0), right.size(1), left.size(1), alpha, left.data_ptr<float>(), l.step,
                      right.data_ptr<float>(), r.step, beta, out.data_ptr<float>(), out.stride(0)) == Success;
}

}  // namespace

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
    if (is_served(a, b)) {
        at::Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
        if (multiply(a, b, 1.0f, 0.0f, out)) return out;
    }
    return at::mm(a, b);
}

void add_product(at::Tensor& out, const at::Tensor& a, const at::Tensor& b, double alpha) {
    if (is_served(a, b) && is_served(out, out) && is_dense(out, 1, 0) && multiply(a, b, static_cast<float>(alpha), 1.0f, out)) return;
    out.addmm_(a, b, 1, alpha);
}

}  // namespace fused
}  // namespace peft
