/* Handles, properties, bytes in and out. */
#include "guard.h"

using namespace peft;

extern "C" {

int32_t pt_tensor_free(pt_tensor* handle) {
    return guard(__func__, [&] { delete handle; });
}

int32_t pt_tensor_dim(pt_tensor* self, int64_t* dim) {
    return guard(__func__, [&] { *dim = ref(self).dim(); });
}

int32_t pt_tensor_numel(pt_tensor* self, int64_t* count) {
    return guard(__func__, [&] { *count = ref(self).numel(); });
}

int32_t pt_tensor_dtype(pt_tensor* self, int32_t* dtype) {
    return guard(__func__, [&] { *dtype = static_cast<int32_t>(ref(self).scalar_type()); });
}

int32_t pt_tensor_device(pt_tensor* self, int32_t* device_type, int32_t* device_index) {
    return guard(__func__, [&] {
        *device_type = static_cast<int32_t>(ref(self).device().type());
        *device_index = ref(self).device().index();
    });
}

int32_t pt_tensor_is_contiguous(pt_tensor* self, int32_t* value) {
    return guard(__func__, [&] { *value = ref(self).is_contiguous(); });
}

int32_t pt_tensor_address(pt_tensor* self, int64_t* address) {
    return guard(__func__, [&] { *address = reinterpret_cast<int64_t>(ref(self).data_ptr()); });
}

int32_t pt_tensor_item_double(pt_tensor* self, double* value) {
    return guard(__func__, [&] { *value = ref(self).item().toDouble(); });
}

int32_t pt_tensor_item_int64(pt_tensor* self, int64_t* value) {
    return guard(__func__, [&] { *value = ref(self).item().toLong(); });
}

int32_t pt_tensor_set_data(pt_tensor* self, pt_tensor* data) {
    return guard(__func__, [&] { ref(self).set_data(ref(data)); });
}

int32_t pt_tensor_shape(pt_tensor* self, int64_t* sizes, int32_t sizes_count) {
    return guard(__func__, [&] {
        const auto found = ref(self).sizes();
        TORCH_CHECK(static_cast<size_t>(sizes_count) == found.size(), "room for ", sizes_count, " sizes, tensor has ",
            found.size());
        std::copy(found.begin(), found.end(), sizes);
    });
}

int32_t pt_tensor_strides(pt_tensor* self, int64_t* strides, int32_t strides_count) {
    return guard(__func__, [&] {
        const auto found = ref(self).strides();
        TORCH_CHECK(static_cast<size_t>(strides_count) == found.size(), "room for ", strides_count,
            " strides, tensor has ", found.size());
        std::copy(found.begin(), found.end(), strides);
    });
}

int32_t pt_tensor_read(pt_tensor* self, uint8_t* bytes, int64_t bytes_count) {
    return guard(__func__, [&] {
        const auto source = ref(self).detach().to(at::kCPU).contiguous();
        const auto size = static_cast<int64_t>(source.nbytes());
        TORCH_CHECK(bytes_count == size, "room for ", bytes_count, " bytes, tensor has ", size);
        if (size > 0) std::memcpy(bytes, source.data_ptr(), static_cast<size_t>(size));
    });
}

int32_t pt_tensor_write(pt_tensor* self, const uint8_t* bytes, int64_t bytes_count) {
    return guard(__func__, [&] {
        auto& target = ref(self);
        const auto size = target.numel() * static_cast<int64_t>(target.element_size());
        TORCH_CHECK(bytes_count == size, "got ", bytes_count, " bytes, tensor has ", size);
        if (size == 0) return;
        /* from_blob reads only: the const is cast away because ATen has no read-only tensor. */
        const auto source = at::from_blob(const_cast<uint8_t*>(bytes), target.sizes(),
            at::TensorOptions().dtype(target.scalar_type()));
        at::NoGradGuard no_grad;
        target.copy_(source);
    });
}

}  /* extern "C" */
