/* Row loops that the compiler turns into vector code, once per instruction set (chosen when the library is loaded). */
#ifndef PEFT_TORCH_FUSED_SIMD_H
#define PEFT_TORCH_FUSED_SIMD_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PEFT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PEFT_CLONES
#endif
#define PEFT_INLINE inline __attribute__((always_inline))

namespace peft {
namespace fused {

/* e^x, within 2 units in the last place, 0 below -87.3 (so also for -inf); written without branches so that it vectorises. */
PEFT_INLINE float exp_of(float x) {
    const float low = -87.33654f, high = 88.37626f;
    float bounded = x < low ? low : x;
    bounded = bounded > high ? high : bounded;
    const float magic = 12582912.0f;                      /* 1.5 * 2^23: adding it rounds to a whole number */
    const float whole = (bounded * 1.44269504088896341f + magic) - magic;
    const float rest = (bounded - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * rest + 1.3981999507e-3f;
    p = p * rest + 8.3334519073e-3f;
    p = p * rest + 4.1665795894e-2f;
    p = p * rest + 1.6666665459e-1f;
    p = p * rest + 5.0000001201e-1f;
    p = p * (rest * rest) + rest + 1.0f;
    const int32_t bits = (static_cast<int32_t>(whole) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    const float result = p * power;
    return x < low ? 0.0f : result;
}

PEFT_INLINE double exp_of(double x) { return std::exp(x); }

template <class T>
PEFT_INLINE T sigmoid_of(T x) { return T(1) / (T(1) + exp_of(-x)); }

template <class T>
PEFT_INLINE T tanh_of(T x) { return T(1) - T(2) / (exp_of(T(2) * x) + T(1)); }

}  // namespace fused
}  // namespace peft

#endif
