/* Everything that differs between the versions of libtorch this shim builds against (1.13 to 2.x). */
#ifndef PEFT_TORCH_VERSION_H
#define PEFT_TORCH_VERSION_H

#include <ATen/ATen.h>
#include <torch/version.h>

#if TORCH_VERSION_MAJOR < 1 || (TORCH_VERSION_MAJOR == 1 && TORCH_VERSION_MINOR < 13)
#error "libtorch 1.13 or newer is needed; set LIBTORCH to the folder of one"
#endif

#define PT_TORCH_AT_LEAST(major, minor) \
    (TORCH_VERSION_MAJOR > (major) || (TORCH_VERSION_MAJOR == (major) && TORCH_VERSION_MINOR >= (minor)))

#if PT_TORCH_AT_LEAST(2, 4)
#include <optional>
#endif

namespace peft {

/* The optional type of ATen's signatures: its own before 2.4, the standard one since. */
#if PT_TORCH_AT_LEAST(2, 4)
template <class T>
using maybe = std::optional<T>;
#else
template <class T>
using maybe = c10::optional<T>;
#endif

}  // namespace peft

#endif
