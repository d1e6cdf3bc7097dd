/* Versions, errors, threads, memory, devices. */
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/GradMode.h>
#include <dlfcn.h>
#include <malloc.h>

#include "guard.h"

namespace peft {

std::atomic<int64_t> live_tensors{0};

std::string& last_error() {
    thread_local std::string message;
    return message;
}

/* As much of the text as fits; returns what the whole of it needs. */
static int64_t copy_text(const std::string& text, uint8_t* buffer, int64_t capacity) {
    const auto size = static_cast<int64_t>(text.size());
    if (buffer != nullptr && capacity > 0) std::memcpy(buffer, text.data(), std::min(size, capacity));
    return size;
}

}  // namespace peft

using namespace peft;

extern "C" {

int32_t pt_abi_version(int32_t* version) {
    return guard(__func__, [&] { *version = PT_ABI_VERSION; });
}

int32_t pt_libtorch_version(int32_t* version) {
    return guard(__func__, [&] {
        *version = TORCH_VERSION_MAJOR * 10000 + TORCH_VERSION_MINOR * 100 + TORCH_VERSION_PATCH;
    });
}

int32_t pt_show_config(uint8_t* text, int64_t text_count, int64_t* length) {
    return guard(__func__, [&] { *length = copy_text(at::show_config(), text, text_count); });
}

int32_t pt_last_error(uint8_t* text, int64_t text_count, int64_t* length) {
    return guard(__func__, [&] { *length = copy_text(last_error(), text, text_count); });
}

int32_t pt_live_tensor_count(int64_t* count) {
    return guard(__func__, [&] { *count = live_tensors.load(std::memory_order_relaxed); });
}

int32_t pt_trim_allocator(void) {
    return guard(__func__, [&] { malloc_trim(0); });
}

int32_t pt_set_num_threads(int32_t count) {
    return guard(__func__, [&] { at::set_num_threads(count); });
}

int32_t pt_get_num_threads(int32_t* count) {
    return guard(__func__, [&] { *count = at::get_num_threads(); });
}

int32_t pt_use_deterministic_algorithms(int32_t on) {
    return guard(__func__, [&] { at::globalContext().setDeterministicAlgorithms(on != 0, false); });
}

int32_t pt_are_deterministic_algorithms_enabled(int32_t* on) {
    return guard(__func__, [&] { *on = at::globalContext().deterministicAlgorithms(); });
}

int32_t pt_set_mkldnn_enabled(int32_t on) {
    return guard(__func__, [&] { at::globalContext().setUserEnabledMkldnn(on != 0); });
}

int32_t pt_get_mkldnn_enabled(int32_t* on) {
    return guard(__func__, [&] { *on = at::globalContext().userEnabledMkldnn(); });
}

int32_t pt_set_allow_tf32(int32_t on) {
    return guard(__func__, [&] { at::globalContext().setAllowTF32CuBLAS(on != 0); });
}

int32_t pt_cuda_is_available(int32_t* available) {
    return guard(__func__, [&] { *available = at::hasCUDA(); });
}

int32_t pt_cuda_device_count(int32_t* count) {
    return guard(__func__, [&] {
        *count = at::hasCUDA() ? static_cast<int32_t>(at::detail::getCUDAHooks().getNumGPUs()) : 0;
    });
}

int32_t pt_cuda_synchronize(int32_t device_index) {
    return guard(__func__, [&] {
        at::detail::getCUDAHooks().deviceSynchronize(static_cast<c10::DeviceIndex>(device_index));
    });
}

int32_t pt_libtorch_path(uint8_t* text, int64_t text_count, int64_t* length) {
    return guard(__func__, [&] {
        Dl_info found;
        const bool known = dladdr(reinterpret_cast<void*>(&at::get_num_threads), &found) != 0;
        *length = copy_text(known && found.dli_fname != nullptr ? found.dli_fname : "", text, text_count);
    });
}

int32_t pt_throw_for_test(int32_t kind) {
    return guard(__func__, [&] {
        switch (kind) {
            case 0: TORCH_CHECK(false, "a c10 error with ", 2, " parts");
            case 1: throw std::bad_alloc();
            case 2: throw std::out_of_range("an index out of range");
            default: throw 42;
        }
    });
}

int32_t pt_tune_allocator(void) {
    return guard(__func__, [&] {
#ifdef __GLIBC__
        /* Blocks below the threshold come from the heap and are used again. 32 MiB is the largest value glibc takes,
           so the heap is told to serve larger blocks too, never to shrink, and to be one for all threads: activations
           are few and large, and the heaps of other threads end at 64 MiB. */
        mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024);
        mallopt(M_MMAP_MAX, 0);
        mallopt(M_TRIM_THRESHOLD, 0x7fffffff);
        mallopt(M_TOP_PAD, 64 * 1024 * 1024);
        mallopt(M_ARENA_MAX, 1);
#endif
    });
}

}  /* extern "C" */
