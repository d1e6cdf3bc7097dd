/* Selecting and placing elements. */
#include "guard.h"

using namespace peft;

extern "C" {

int32_t pt_narrow(pt_tensor* self, int64_t dim, int64_t start, int64_t length, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::narrow(ref(self), dim, start, length)); });
}

int32_t pt_slice(pt_tensor* self, int64_t dim, int64_t start, int64_t stop, int64_t step, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::slice(ref(self), dim, start, stop, step)); });
}

int32_t pt_select(pt_tensor* self, int64_t dim, int64_t index, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::select(ref(self), dim, index)); });
}

int32_t pt_index_select(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::index_select(ref(self), dim, ref(index))); });
}

int32_t pt_gather(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::gather(ref(self), dim, ref(index))); });
}

int32_t pt_scatter(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::scatter(ref(self), dim, ref(index), ref(source))); });
}

int32_t pt_scatter_value(pt_tensor* self, int64_t dim, pt_tensor* index, double value, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::scatter(ref(self), dim, ref(index), scalar(ref(self), value)));
    });
}

int32_t pt_scatter_add(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::scatter_add(ref(self), dim, ref(index), ref(source))); });
}

int32_t pt_index_add(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::index_add(ref(self), dim, ref(index), ref(source))); });
}

int32_t pt_scatter_(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source) {
    return guard(__func__, [&] { ref(self).scatter_(dim, ref(index), ref(source)); });
}

int32_t pt_scatter_value_(pt_tensor* self, int64_t dim, pt_tensor* index, double value) {
    return guard(__func__, [&] { ref(self).scatter_(dim, ref(index), scalar(ref(self), value)); });
}

int32_t pt_index_copy_(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source) {
    return guard(__func__, [&] { ref(self).index_copy_(dim, ref(index), ref(source)); });
}

int32_t pt_index_add_(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source) {
    return guard(__func__, [&] { ref(self).index_add_(dim, ref(index), ref(source)); });
}

int32_t pt_masked_fill_(pt_tensor* self, pt_tensor* mask, double value) {
    return guard(__func__, [&] { ref(self).masked_fill_(ref(mask), scalar(ref(self), value)); });
}

int32_t pt_masked_fill(pt_tensor* self, pt_tensor* mask, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::masked_fill(ref(self), ref(mask), scalar(ref(self), value))); });
}

int32_t pt_masked_select(pt_tensor* self, pt_tensor* mask, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::masked_select(ref(self), ref(mask))); });
}

int32_t pt_where(pt_tensor* condition, pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::where(ref(condition), ref(a), ref(b))); });
}

int32_t pt_nonzero(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::nonzero(ref(self))); });
}

int32_t pt_one_hot(pt_tensor* self, int64_t classes, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::one_hot(ref(self), classes)); });
}

int32_t pt_bincount(pt_tensor* self, pt_tensor* weights, int64_t minlength, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::bincount(ref(self), opt(weights), minlength)); });
}

}  /* extern "C" */
