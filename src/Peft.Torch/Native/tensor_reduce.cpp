/* Sums, extrema, sorting. */
#include "guard.h"

/* Both results or none: the first handle is not lost when the second cannot be made. */
template <class Found>
static void pair(Found& found, pt_tensor** first, pt_tensor** second) {
    std::unique_ptr<pt_tensor> held(peft::wrap(std::get<0>(found)));
    *second = peft::wrap(std::get<1>(found));
    *first = held.release();
}

using namespace peft;

extern "C" {

int32_t pt_sum(pt_tensor* self, int32_t dtype, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::sum(ref(self), opt_type(dtype))); });
}

int32_t pt_sum_dim(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t keepdim, int32_t dtype,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::sum(ref(self), ints(dims, dims_count), keepdim != 0, opt_type(dtype)));
    });
}

int32_t pt_mean(pt_tensor* self, int32_t dtype, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::mean(ref(self), opt_type(dtype))); });
}

int32_t pt_mean_dim(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t keepdim, int32_t dtype,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::mean(ref(self), ints(dims, dims_count), keepdim != 0, opt_type(dtype)));
    });
}

int32_t pt_prod(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::prod(ref(self))); });
}

int32_t pt_amax(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t keepdim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::amax(ref(self), ints(dims, dims_count), keepdim != 0)); });
}

int32_t pt_amin(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t keepdim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::amin(ref(self), ints(dims, dims_count), keepdim != 0)); });
}

int32_t pt_max(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::max(ref(self))); });
}

int32_t pt_min(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::min(ref(self))); });
}

int32_t pt_max_dim(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** values, pt_tensor** indices) {
    return guard(__func__, [&] { auto found = at::max(ref(self), dim, keepdim != 0); pair(found, values, indices); });
}

int32_t pt_min_dim(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** values, pt_tensor** indices) {
    return guard(__func__, [&] { auto found = at::min(ref(self), dim, keepdim != 0); pair(found, values, indices); });
}

int32_t pt_argmax(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::argmax(ref(self), dim, keepdim != 0)); });
}

int32_t pt_argmin(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::argmin(ref(self), dim, keepdim != 0)); });
}

int32_t pt_std(pt_tensor* self, int32_t unbiased, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::std(ref(self), unbiased != 0)); });
}

int32_t pt_std_dim(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t unbiased, int32_t keepdim,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::std(ref(self), ints(dims, dims_count), unbiased != 0, keepdim != 0));
    });
}

int32_t pt_var(pt_tensor* self, int32_t unbiased, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::var(ref(self), unbiased != 0)); });
}

int32_t pt_var_dim(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t unbiased, int32_t keepdim,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::var(ref(self), ints(dims, dims_count), unbiased != 0, keepdim != 0));
    });
}

int32_t pt_norm(pt_tensor* self, double p, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::norm(ref(self), p)); });
}

int32_t pt_norm_dim(pt_tensor* self, double p, const int64_t* dims, int32_t dims_count, int32_t keepdim,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::norm(ref(self), maybe<at::Scalar>(p), ints(dims, dims_count), keepdim != 0));
    });
}

int32_t pt_logsumexp(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t keepdim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::logsumexp(ref(self), ints(dims, dims_count), keepdim != 0)); });
}

int32_t pt_cumsum(pt_tensor* self, int64_t dim, int32_t dtype, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::cumsum(ref(self), dim, opt_type(dtype))); });
}

int32_t pt_topk(pt_tensor* self, int64_t k, int64_t dim, int32_t largest, int32_t sorted, pt_tensor** values,
    pt_tensor** indices) {
    return guard(__func__, [&] {
        auto found = at::topk(ref(self), k, dim, largest != 0, sorted != 0);
        pair(found, values, indices);
    });
}

int32_t pt_sort(pt_tensor* self, int64_t dim, int32_t descending, int32_t stable, pt_tensor** values,
    pt_tensor** indices) {
    return guard(__func__, [&] {
        auto found = at::sort(ref(self), maybe<bool>(stable != 0), dim, descending != 0);
        pair(found, values, indices);
    });
}

int32_t pt_any(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::any(ref(self))); });
}

int32_t pt_any_dim(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::any(ref(self), dim, keepdim != 0)); });
}

int32_t pt_all(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::all(ref(self))); });
}

int32_t pt_all_dim(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::all(ref(self), dim, keepdim != 0)); });
}

int32_t pt_all_finite(pt_list* items, int32_t* value) {
    return guard(__func__, [&] {
        at::NoGradGuard no_grad;
        std::vector<at::Tensor> flags;
        for (const auto& item : ref(items)) {
            if (item.defined()) flags.push_back(at::isfinite(item.sum(item.is_floating_point()
                ? maybe<at::ScalarType>(at::kFloat) : maybe<at::ScalarType>())));
        }
        /* A sum of finite numbers may overflow: only a suspicious one is looked at element by element. */
        bool finite = flags.empty() || at::stack(flags).all().item<bool>();
        if (!finite) {
            finite = true;
            for (const auto& item : ref(items)) {
                if (item.defined() && !at::isfinite(item).all().item<bool>()) finite = false;
            }
        }
        *value = finite;
    });
}

}  /* extern "C" */
