/* Decompositions and norms. */
#include "guard.h"

/* Both results or none: the first handle is not lost when the second cannot be made. */
template <class Found>
static void pair(Found& found, pt_tensor** first, pt_tensor** second) {
    std::unique_ptr<pt_tensor> held(peft::wrap(std::get<0>(found)));
    *second = peft::wrap(std::get<1>(found));
    *first = held.release();
}

static void triple(at::Tensor& a, at::Tensor& b, at::Tensor& c, pt_tensor** first, pt_tensor** second,
    pt_tensor** third) {
    std::unique_ptr<pt_tensor> held_a(peft::wrap(a));
    std::unique_ptr<pt_tensor> held_b(peft::wrap(b));
    *third = peft::wrap(c);
    *second = held_b.release();
    *first = held_a.release();
}

using namespace peft;

extern "C" {

int32_t pt_svd(pt_tensor* self, int32_t full_matrices, pt_tensor** u, pt_tensor** s, pt_tensor** vh) {
    return guard(__func__, [&] {
        auto found = at::linalg_svd(ref(self), full_matrices != 0);
        triple(std::get<0>(found), std::get<1>(found), std::get<2>(found), u, s, vh);
    });
}

int32_t pt_eigh(pt_tensor* self, pt_tensor** values, pt_tensor** vectors) {
    return guard(__func__, [&] { auto found = at::linalg_eigh(ref(self), "L"); pair(found, values, vectors); });
}

int32_t pt_qr(pt_tensor* self, pt_tensor** q, pt_tensor** r) {
    return guard(__func__, [&] { auto found = at::linalg_qr(ref(self), "reduced"); pair(found, q, r); });
}

int32_t pt_vector_norm(pt_tensor* self, double order, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::linalg_vector_norm(ref(self), order)); });
}

int32_t pt_vector_norm_dim(pt_tensor* self, double order, const int64_t* dims, int32_t dims_count, int32_t keepdim,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::linalg_vector_norm(ref(self), order, ints(dims, dims_count), keepdim != 0));
    });
}

int32_t pt_solve(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::linalg_solve(ref(a), ref(b))); });
}

}  /* extern "C" */
