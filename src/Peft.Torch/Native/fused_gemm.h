/* Row-major products on raw memory, for use inside a parallel region: the BLAS that libtorch itself has loaded. */
#ifndef PEFT_TORCH_FUSED_GEMM_H
#define PEFT_TORCH_FUSED_GEMM_H

#include <ATen/ATen.h>

/* Weak: a libtorch that carries its BLAS inside (some builds with MKL) exports no such name, and at::mm serves instead. */
extern "C" {
void sgemm_(const char* transa, const char* transb, const int* m, const int* n, const int* k, const float* alpha, const float* a,
            const int* lda, const float* b, const int* ldb, const float* beta, float* c, const int* ldc) __attribute__((weak));
void dgemm_(const char* transa, const char* transb, const int* m, const int* n, const int* k, const double* alpha, const double* a,
            const int* lda, const double* b, const int* ldb, const double* beta, double* c, const int* ldc) __attribute__((weak));
}

namespace peft {
namespace fused {

/* A row-major matrix in memory, or its transpose: the element (i, j) is data[i * step + j], or data[j * step + i]. */
template <class T>
struct Matrix {
    T* data;
    int64_t step;
    bool transposed;
};

template <class T>
Matrix<const T> rows(const T* data, int64_t step) { return {data, step, false}; }
template <class T>
Matrix<const T> columns(const T* data, int64_t step) { return {data, step, true}; }

inline void blas(const char* ta, const char* tb, const int* m, const int* n, const int* k, const float* alpha, const float* a,
                 const int* lda, const float* b, const int* ldb, const float* beta, float* c, const int* ldc) {
    sgemm_(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
inline void blas(const char* ta, const char* tb, const int* m, const int* n, const int* k, const double* alpha, const double* a,
                 const int* lda, const double* b, const int* ldb, const double* beta, double* c, const int* ldc) {
    dgemm_(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* out[m,n] = alpha * a[m,k] b[k,n] + beta * out. Row-major: the BLAS sees out^T = b^T a^T. */
template <class T>
void gemm(int64_t m, int64_t n, int64_t k, T alpha, Matrix<const T> a, Matrix<const T> b, T beta, T* out, int64_t out_step) {
    if (m == 0 || n == 0) return;
    if (sgemm_ != nullptr && dgemm_ != nullptr) {
        const int im = static_cast<int>(m), in = static_cast<int>(n), ik = static_cast<int>(k);
        const int la = static_cast<int>(a.step), lb = static_cast<int>(b.step), lo = static_cast<int>(out_step);
        blas(b.transposed ? "T" : "N", a.transposed ? "T" : "N", &in, &im, &ik, &alpha, b.data, &lb, a.data, &la, &beta, out, &lo);
        return;
    }
    const auto type = at::TensorOptions().dtype(c10::CppTypeToScalarType<T>::value);
    const auto tensor = [&](const T* data, int64_t r, int64_t c, int64_t step, bool transposed) {
        return at::from_blob(const_cast<T*>(data), {r, c}, transposed ? at::IntArrayRef({1, step}) : at::IntArrayRef({step, 1}), type);
    };
    at::Tensor target = tensor(out, m, n, out_step, false);
    if (beta == T(0)) target.zero_();
    else target.mul_(beta);
    target.add_(at::mm(tensor(a.data, m, k, a.step, a.transposed), tensor(b.data, k, n, b.step, b.transposed)), alpha);
}

/* a b for two matrices, and out += alpha a b; either may be a transposed view. For float32 on a CPU that oneDNN serves: its
   threads share thin products (a few dozen columns or rows, as adapters have them) three times as fast as OpenBLAS's, and the
   others a tenth faster. */
at::Tensor product(const at::Tensor& a, const at::Tensor& b);
void add_product(at::Tensor& out, const at::Tensor& a, const at::Tensor& b, double alpha);

}  // namespace fused
}  // namespace peft

#endif
