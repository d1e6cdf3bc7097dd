/* Handle casts, and the only try/catch of the shim. Every exported function is one line around guard(). */
#ifndef PEFT_TORCH_GUARD_H
#define PEFT_TORCH_GUARD_H

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "peft_torch.h"
#include "version.h"

namespace peft {

extern std::atomic<int64_t> live_tensors;      /* handles given out and not yet freed */
std::string& last_error();                     /* this thread's message; read at once by the caller */

}  // namespace peft

/* What the handles of the C header point to. */
struct pt_tensor {
    at::Tensor value;
    explicit pt_tensor(at::Tensor tensor) : value(std::move(tensor)) {
        peft::live_tensors.fetch_add(1, std::memory_order_relaxed);
    }
    ~pt_tensor() { peft::live_tensors.fetch_sub(1, std::memory_order_relaxed); }
    pt_tensor(const pt_tensor&) = delete;
    pt_tensor& operator=(const pt_tensor&) = delete;
};

struct pt_list {
    std::vector<at::Tensor> items;
};

struct pt_generator {
    at::Generator value;
};

namespace peft {

/* The tensor behind a handle; a null handle is the caller's mistake. */
inline at::Tensor& ref(pt_tensor* handle) {
    if (handle == nullptr) throw std::invalid_argument("a tensor is missing (null handle)");
    return handle->value;
}

inline std::vector<at::Tensor>& ref(pt_list* handle) {
    if (handle == nullptr) throw std::invalid_argument("a tensor list is missing (null handle)");
    return handle->items;
}

/* The optional tensor behind a handle; null means none. */
inline maybe<at::Tensor> opt(pt_tensor* handle) {
    return handle == nullptr ? maybe<at::Tensor>() : maybe<at::Tensor>(handle->value);
}

/* The generator behind a handle; null means libtorch's own default one. */
inline maybe<at::Generator> opt(pt_generator* handle) {
    return handle == nullptr ? maybe<at::Generator>() : maybe<at::Generator>(handle->value);
}

/* A new handle; an undefined tensor becomes a null handle. */
inline pt_tensor* wrap(at::Tensor tensor) {
    return tensor.defined() ? new pt_tensor(std::move(tensor)) : nullptr;
}

inline at::IntArrayRef ints(const int64_t* values, int32_t count) {
    return at::IntArrayRef(values, static_cast<size_t>(count));
}

inline at::ScalarType type(int32_t dtype) { return static_cast<at::ScalarType>(dtype); }

/* A dtype, or none where the number is negative. */
inline maybe<at::ScalarType> opt_type(int32_t dtype) {
    return dtype < 0 ? maybe<at::ScalarType>() : maybe<at::ScalarType>(type(dtype));
}

inline at::Device device(int32_t kind, int32_t index) {
    return at::Device(static_cast<c10::DeviceType>(kind), static_cast<c10::DeviceIndex>(index));
}

inline at::TensorOptions options(int32_t dtype, int32_t kind, int32_t index) {
    return at::TensorOptions().dtype(type(dtype)).device(device(kind, index));
}

/* A whole number stays an integer beside an integer tensor, as Python's literals do. */
inline at::Scalar scalar(const at::Tensor& beside, double value) {
    const bool whole = value == static_cast<double>(static_cast<int64_t>(value));
    return whole && c10::isIntegralType(beside.scalar_type(), true) ? at::Scalar(static_cast<int64_t>(value))
                                                                   : at::Scalar(value);
}

inline int32_t fail(int32_t status, const char* function, const char* message) noexcept {
    try {
        /* pt_matmul speaks as "matmul": the managed side splits at the first colon. */
        const char* name = std::strncmp(function, "pt_", 3) == 0 ? function + 3 : function;
        last_error().assign(name).append(": ").append(message);
    } catch (...) {
        return PT_OUT_OF_MEMORY;   /* no memory even for the message; the status says enough */
    }
    return status;
}

/* Runs body; whatever it throws becomes a status and this thread's message. Nothing crosses the C border.
   Use: return guard(__func__, [&] { *result = wrap(at::matmul(ref(a), ref(b))); }); */
template <class Body>
int32_t guard(const char* function, Body&& body) noexcept {
    try {
        body();
        return PT_OK;
    } catch (const c10::Error& error) {
        return fail(PT_TORCH_ERROR, function, error.what_without_backtrace());
    } catch (const std::bad_alloc&) {
        return fail(PT_OUT_OF_MEMORY, function, "out of memory");
    } catch (const std::exception& error) {
        return fail(PT_STANDARD_ERROR, function, error.what());
    } catch (...) {
        return fail(PT_UNKNOWN_ERROR, function, "an exception of unknown kind");
    }
}

}  // namespace peft

#endif
