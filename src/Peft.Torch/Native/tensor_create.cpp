/* New tensors. */
#include "guard.h"

#include "file_mapping.h"

/* Options of a tensor like another one, with its own dtype where one is given. */
static at::TensorOptions like(const at::Tensor& self, int32_t dtype) {
    return dtype < 0 ? self.options() : self.options().dtype(peft::type(dtype));
}

using namespace peft;

extern "C" {

int32_t pt_empty(const int64_t* shape, int32_t shape_count, int32_t dtype, int32_t device_type, int32_t device_index,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::empty(ints(shape, shape_count), options(dtype, device_type, device_index)));
    });
}

int32_t pt_zeros(const int64_t* shape, int32_t shape_count, int32_t dtype, int32_t device_type, int32_t device_index,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::zeros(ints(shape, shape_count), options(dtype, device_type, device_index)));
    });
}

int32_t pt_ones(const int64_t* shape, int32_t shape_count, int32_t dtype, int32_t device_type, int32_t device_index,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::ones(ints(shape, shape_count), options(dtype, device_type, device_index)));
    });
}

int32_t pt_full(const int64_t* shape, int32_t shape_count, double value, int32_t dtype, int32_t device_type,
    int32_t device_index, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::full(ints(shape, shape_count), value, options(dtype, device_type, device_index)));
    });
}

int32_t pt_linspace(double start, double stop, int64_t count, int32_t dtype, int32_t device_type,
    int32_t device_index, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::linspace(start, stop, count, options(dtype, device_type, device_index)));
    });
}

int32_t pt_eye(int64_t rows, int64_t columns, int32_t dtype, int32_t device_type, int32_t device_index,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::eye(rows, columns, options(dtype, device_type, device_index)));
    });
}

int32_t pt_zeros_like(pt_tensor* self, int32_t dtype, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::zeros_like(ref(self), like(ref(self), dtype))); });
}

int32_t pt_ones_like(pt_tensor* self, int32_t dtype, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::ones_like(ref(self), like(ref(self), dtype))); });
}

int32_t pt_empty_like(pt_tensor* self, int32_t dtype, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::empty_like(ref(self), like(ref(self), dtype))); });
}

int32_t pt_full_like(pt_tensor* self, double value, int32_t dtype, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::full_like(ref(self), scalar(ref(self), value), like(ref(self), dtype)));
    });
}

int32_t pt_arange(double start, double stop, double step, int32_t dtype, int32_t device_type, int32_t device_index,
    pt_tensor** result) {
    return guard(__func__, [&] {
        const auto target = options(dtype, device_type, device_index);
        *result = c10::isIntegralType(type(dtype), false)
            ? wrap(at::arange(static_cast<int64_t>(start), static_cast<int64_t>(stop), static_cast<int64_t>(step),
                target))
            : wrap(at::arange(start, stop, step, target));
    });
}

int32_t pt_from_bytes(const uint8_t* bytes, int64_t bytes_count, const int64_t* shape, int32_t shape_count,
    int32_t dtype, int32_t device_type, int32_t device_index, pt_tensor** result) {
    return guard(__func__, [&] {
        auto made = at::empty(ints(shape, shape_count), at::TensorOptions().dtype(type(dtype)));
        const auto size = static_cast<int64_t>(made.nbytes());
        TORCH_CHECK(bytes_count == size, "got ", bytes_count, " bytes, a tensor of shape ", ints(shape, shape_count),
            " needs ", size);
        if (size > 0) std::memcpy(made.data_ptr(), bytes, static_cast<size_t>(size));
        *result = wrap(made.to(device(device_type, device_index)));
    });
}

int32_t pt_from_file(const char* path, int64_t offset, const int64_t* shape, int32_t shape_count, int32_t dtype,
    pt_tensor** result) {
    return guard(__func__, [&] {
        const auto sizes = ints(shape, shape_count);
        const auto width = static_cast<int64_t>(c10::elementSize(type(dtype)));
        int64_t bytes = width;
        for (const auto size : sizes) {
            TORCH_CHECK(size >= 0 && !__builtin_mul_overflow(bytes, size, &bytes), "shape ", sizes, " is not possible");
        }
        const auto mapping = FileMapping::open(path);
        TORCH_CHECK(offset >= 0 && bytes <= mapping->size() - offset, "'", path, "' has ", mapping->size(),
            " bytes, elements at ", offset, "..", offset + bytes, " were asked for");
        auto* first = mapping->data() + offset;
        const auto target = at::TensorOptions().dtype(type(dtype));
        if (bytes == 0) {
            *result = wrap(at::empty(sizes, target));
        } else if (reinterpret_cast<uintptr_t>(first) % static_cast<uintptr_t>(width) != 0) {
            auto copy = at::empty(sizes, target);
            std::memcpy(copy.data_ptr(), first, static_cast<size_t>(bytes));
            *result = wrap(copy);
        } else {
            *result = wrap(at::from_blob(first, sizes, [mapping](void*) {}, target));
        }
    });
}

int32_t pt_mapped_file_count(int64_t* count) {
    return guard(__func__, [&] { *count = FileMapping::open_count(); });
}

}  /* extern "C" */
