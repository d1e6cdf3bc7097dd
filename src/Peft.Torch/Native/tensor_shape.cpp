/* Views, copies, conversions, joining. */
#include "guard.h"

using namespace peft;

extern "C" {

int32_t pt_clone(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(ref(self).clone()); });
}

int32_t pt_detach(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(ref(self).detach()); });
}

int32_t pt_alias(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::Tensor(ref(self))); });
}

int32_t pt_contiguous(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(ref(self).contiguous()); });
}

int32_t pt_t(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::t(ref(self))); });
}

int32_t pt_transpose(pt_tensor* self, int64_t a, int64_t b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::transpose(ref(self), a, b)); });
}

int32_t pt_permute(pt_tensor* self, const int64_t* dims, int32_t dims_count, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(ref(self).permute(ints(dims, dims_count))); });
}

int32_t pt_reshape(pt_tensor* self, const int64_t* shape, int32_t shape_count, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::reshape(ref(self), ints(shape, shape_count))); });
}

int32_t pt_view(pt_tensor* self, const int64_t* shape, int32_t shape_count, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(ref(self).view(ints(shape, shape_count))); });
}

int32_t pt_flatten(pt_tensor* self, int64_t start, int64_t end, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::flatten(ref(self), start, end)); });
}

int32_t pt_unsqueeze(pt_tensor* self, int64_t dim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::unsqueeze(ref(self), dim)); });
}

int32_t pt_squeeze(pt_tensor* self, int64_t dim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::squeeze(ref(self), dim)); });
}

int32_t pt_squeeze_all(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::squeeze(ref(self))); });
}

int32_t pt_expand(pt_tensor* self, const int64_t* shape, int32_t shape_count, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(ref(self).expand(ints(shape, shape_count))); });
}

int32_t pt_repeat(pt_tensor* self, const int64_t* counts, int32_t counts_count, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(ref(self).repeat(ints(counts, counts_count))); });
}

int32_t pt_repeat_interleave(pt_tensor* self, int64_t count, int64_t dim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::repeat_interleave(ref(self), count, dim)); });
}

int32_t pt_repeat_interleave_each(pt_tensor* self, pt_tensor* counts, int64_t dim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::repeat_interleave(ref(self), ref(counts), dim)); });
}

int32_t pt_split(pt_tensor* self, int64_t size, int64_t dim, pt_list** result) {
    return guard(__func__, [&] { *result = new pt_list{at::split(ref(self), size, dim)}; });
}

int32_t pt_split_sizes(pt_tensor* self, const int64_t* sizes, int32_t sizes_count, int64_t dim, pt_list** result) {
    return guard(__func__, [&] {
        *result = new pt_list{at::split_with_sizes(ref(self), ints(sizes, sizes_count), dim)};
    });
}

int32_t pt_chunk(pt_tensor* self, int64_t count, int64_t dim, pt_list** result) {
    return guard(__func__, [&] { *result = new pt_list{at::chunk(ref(self), count, dim)}; });
}

int32_t pt_cat(pt_list* items, int64_t dim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::cat(ref(items), dim)); });
}

int32_t pt_stack(pt_list* items, int64_t dim, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::stack(ref(items), dim)); });
}

int32_t pt_triu(pt_tensor* self, int64_t diagonal, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::triu(ref(self), diagonal)); });
}

int32_t pt_tril(pt_tensor* self, int64_t diagonal, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::tril(ref(self), diagonal)); });
}

int32_t pt_flip(pt_tensor* self, const int64_t* dims, int32_t dims_count, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::flip(ref(self), ints(dims, dims_count))); });
}

int32_t pt_diag(pt_tensor* self, int64_t diagonal, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::diag(ref(self), diagonal)); });
}

int32_t pt_pad(pt_tensor* self, const int64_t* amounts, int32_t amounts_count, double value, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::constant_pad_nd(ref(self), ints(amounts, amounts_count), value));
    });
}

int32_t pt_to(pt_tensor* self, int32_t dtype, int32_t device_type, int32_t device_index, int32_t copy,
    pt_tensor** result) {
    return guard(__func__, [&] {
        const auto& from = ref(self);
        const auto target = device_type < 0 ? from.device() : device(device_type, device_index);
        const auto wanted = dtype < 0 ? from.scalar_type() : type(dtype);
        *result = wrap(from.to(target, wanted, /*non_blocking=*/false, copy != 0));
    });
}

}  /* extern "C" */
