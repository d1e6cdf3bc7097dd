/* SwiGLU and rotary position embedding: one pass over memory forward, one backward, nothing kept but the inputs. */
#include <ATen/Parallel.h>

#include "fused.h"
#include "fused_simd.h"

namespace peft {
namespace fused {

namespace {

at::ScalarType wide_type(const Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

#define PEFT_ELEMENTWISE(T)                                                                                      \
    PEFT_CLONES void swiglu_loop(const T* gate, const T* up, T* out, int64_t n) {                                \
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) out[j] = gate[j] * sigmoid_of(gate[j]) * up[j];      \
    }                                                                                                            \
    PEFT_CLONES void swiglu_back_loop(const T* dy, const T* gate, const T* up, T* dgate, T* dup, int64_t n) {    \
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) {                                                    \
            const T s = sigmoid_of(gate[j]), act = gate[j] * s;                                                  \
            dup[j] = dy[j] * act;                                                                                \
            dgate[j] = dy[j] * up[j] * (s + act * (T(1) - s));                                                   \
        }                                                                                                        \
    }                                                                                                            \
    /* turn = +1 rotates forward, -1 back; head sizes beyond the rotated part are copied. */                     \
    PEFT_CLONES void rotary_row(const T* x, const T* cos, const T* sin, T* out, int64_t rotated, int64_t size, bool back) { \
        const int64_t half = rotated / 2;                                                                        \
        if (back) {                                                                                              \
            _Pragma("omp simd") for (int64_t j = 0; j < half; ++j) {                                             \
                out[j] = x[j] * cos[j] + x[j + half] * sin[j + half];                                            \
                out[j + half] = x[j + half] * cos[j + half] - x[j] * sin[j];                                     \
            }                                                                                                    \
        } else {                                                                                                 \
            _Pragma("omp simd") for (int64_t j = 0; j < half; ++j) {                                             \
                out[j] = x[j] * cos[j] - x[j + half] * sin[j];                                                   \
                out[j + half] = x[j + half] * cos[j + half] + x[j] * sin[j + half];                              \
            }                                                                                                    \
        }                                                                                                        \
        for (int64_t j = rotated; j < size; ++j) out[j] = x[j];                                                  \
    }
PEFT_ELEMENTWISE(float)
PEFT_ELEMENTWISE(double)
#undef PEFT_ELEMENTWISE

constexpr int64_t Grain = 16384;

template <class T>
void swiglu_all(const Tensor& gate, const Tensor& up, Tensor& out) {
    const T *g = gate.data_ptr<T>(), *u = up.data_ptr<T>();
    T* y = out.data_ptr<T>();
    at::parallel_for(0, gate.numel(), Grain, [&](int64_t begin, int64_t end) {
        swiglu_loop(g + begin, u + begin, y + begin, end - begin);
    });
}

template <class T>
void swiglu_back_all(const Tensor& dy, const Tensor& gate, const Tensor& up, Tensor& dgate, Tensor& dup) {
    const T *d = dy.data_ptr<T>(), *g = gate.data_ptr<T>(), *u = up.data_ptr<T>();
    T *dg = dgate.data_ptr<T>(), *du = dup.data_ptr<T>();
    at::parallel_for(0, gate.numel(), Grain, [&](int64_t begin, int64_t end) {
        swiglu_back_loop(d + begin, g + begin, u + begin, dg + begin, du + begin, end - begin);
    });
}

struct SwiGlu : public Function<SwiGlu> {
    static Tensor forward(AutogradContext* ctx, const Tensor& gate, const Tensor& up) {
        if (ctx != nullptr) ctx->save_for_backward({gate, up});
        if (!runs_loops(gate)) return at::silu(gate).mul_(up);
        const at::ScalarType wide = wide_type(gate);
        const Tensor g = gate.to(wide).contiguous(), u = up.to(wide).contiguous();
        Tensor out = at::empty_like(g);
        if (wide == at::kDouble) swiglu_all<double>(g, u, out);
        else swiglu_all<float>(g, u, out);
        return out.to(gate.scalar_type());
    }

    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        refuse_double_backward("swiglu");
        if (!gradients[0].defined()) return {Tensor(), Tensor()};
        const auto saved = ctx->get_saved_variables();
        const Tensor &gate = saved[0], &up = saved[1], &dy = gradients[0];
        if (!runs_loops(gate)) return {at::silu_backward(dy.mul(up), gate), dy.mul(at::silu(gate))};
        const at::ScalarType wide = wide_type(gate);
        const Tensor g = gate.to(wide).contiguous(), u = up.to(wide).contiguous(), d = dy.to(wide).contiguous();
        Tensor dgate = at::empty_like(g), dup = at::empty_like(g);
        if (wide == at::kDouble) swiglu_back_all<double>(d, g, u, dgate, dup);
        else swiglu_back_all<float>(d, g, u, dgate, dup);
        return {dgate.to(gate.scalar_type()), dup.to(up.scalar_type())};
    }
};

template <class T>
void rotate_all(const Tensor& x, const Tensor& cos, const Tensor& sin, Tensor& out, bool back) {
    const int64_t steps = x.size(1), heads = x.size(2), size = x.size(3), rotated = cos.size(2);
    const int64_t xb = x.stride(0), xt = x.stride(1), xh = x.stride(2);
    const int64_t batch_step = cos.size(0) == 1 ? 0 : steps * rotated;
    const T *source = x.data_ptr<T>(), *c = cos.data_ptr<T>(), *s = sin.data_ptr<T>();
    T* target = out.data_ptr<T>();
    at::parallel_for(0, x.size(0) * steps, std::max<int64_t>(1, Grain / std::max<int64_t>(1, heads * size)),
                     [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t b = i / steps, t = i % steps, place = b * batch_step + t * rotated;
            for (int64_t h = 0; h < heads; ++h)
                rotary_row(source + b * xb + t * xt + h * xh, c + place, s + place, target + (i * heads + h) * size, rotated, size, back);
        }
    });
}

/* Rotates by cos and sin (back = by their transpose), for any device. x is [B, T, H, d]. */
Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin, bool back) {
    const int64_t rotated = cos.size(2), half = rotated / 2, size = x.size(3);
    if (runs_loops(x)) {
        const at::ScalarType wide = wide_type(x);
        Tensor source = x.to(wide);
        if (source.stride(3) != 1) source = source.contiguous();
        const Tensor c = cos.to(wide).contiguous(), s = sin.to(wide).contiguous();
        Tensor out = at::empty(x.sizes(), source.options());
        if (wide == at::kDouble) rotate_all<double>(source, c, s, out, back);
        else rotate_all<float>(source, c, s, out, back);
        return out.to(x.scalar_type());
    }
    const Tensor head = x.narrow(3, 0, rotated), c = cos.unsqueeze(2), s = sin.unsqueeze(2);
    const auto turned = [&](const Tensor& z) {
        const Tensor low = z.narrow(3, 0, half), high = z.narrow(3, half, half);
        return back ? at::cat({high, low.neg()}, 3) : at::cat({high.neg(), low}, 3);
    };
    const Tensor out = (head * c + (back ? turned(head * s) : turned(head) * s)).to(x.scalar_type());
    return rotated == size ? out : at::cat({out, x.narrow(3, rotated, size - rotated)}, 3);
}

struct Rotary : public Function<Rotary> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& cos, const Tensor& sin) {
        if (ctx != nullptr) ctx->save_for_backward({cos, sin});
        return rotate(x, cos, sin, false);
    }

    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        refuse_double_backward("rotary");
        if (!gradients[0].defined()) return {Tensor(), Tensor(), Tensor()};
        const auto saved = ctx->get_saved_variables();
        return {rotate(gradients[0], saved[0], saved[1], true), Tensor(), Tensor()};
    }
};

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) {
    TORCH_CHECK(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type(), "gate ", gate.sizes(), " ",
                gate.scalar_type(), " and up ", up.sizes(), " ", up.scalar_type(), " differ; they have one shape and type");
    return run<SwiGlu>(gate, up);
}

Tensor rotary(const Tensor& x, const Tensor& cos, const Tensor& sin) {
    TORCH_CHECK(x.dim() == 4 && cos.dim() == 3 && cos.sizes() == sin.sizes() && (cos.size(0) == 1 || cos.size(0) == x.size(0)) &&
                cos.size(1) == x.size(1) && cos.size(2) <= x.size(3) && cos.size(2) % 2 == 0,
                "cos ", cos.sizes(), " and sin ", sin.sizes(), " do not meet x ", x.sizes(),
                "; x is [B, T, H, d], cos and sin are [B or 1, T, d or an even part of it]");
    return run<Rotary>(x, cos, sin);
}

}  // namespace fused
}  // namespace peft
