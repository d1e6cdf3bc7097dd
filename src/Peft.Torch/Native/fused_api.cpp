/* The fused operations under their C names. */
#include "fused.h"
#include "guard.h"

using namespace peft;

namespace {

/* The optional tensor behind a handle as ATen's own code passes it: undefined where there is none. */
at::Tensor or_none(pt_tensor* handle) { return handle == nullptr ? at::Tensor() : handle->value; }

}  // namespace

extern "C" {

int32_t pt_lora_mixture_linear(pt_tensor* x, pt_tensor* weight, pt_tensor* bias, pt_tensor* a, pt_tensor* b,
    pt_tensor* gates, pt_tensor* lora_input, double scale, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(fused::lora_mixture_linear(ref(x), ref(weight), or_none(bias), ref(a), ref(b), or_none(gates),
            or_none(lora_input), scale));
    });
}

int32_t pt_linear_cross_entropy(pt_tensor* hidden, pt_tensor* weight, pt_tensor* targets, int64_t chunk_rows,
    double softcap, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(fused::linear_cross_entropy(ref(hidden), ref(weight), ref(targets), chunk_rows, softcap));
    });
}

int32_t pt_rms_norm(pt_tensor* x, pt_tensor* weight, double eps, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(fused::rms_norm(ref(x), ref(weight), eps)); });
}

int32_t pt_swiglu(pt_tensor* gate, pt_tensor* up, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(fused::swiglu(ref(gate), ref(up))); });
}

int32_t pt_rotary(pt_tensor* x, pt_tensor* cos, pt_tensor* sin, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(fused::rotary(ref(x), ref(cos), ref(sin))); });
}

int32_t pt_causal_attention(pt_tensor* q, pt_tensor* k, pt_tensor* v, pt_tensor* mask, double scale, int32_t causal,
    int64_t offset, int64_t window, double softcap, const int64_t* segments, int32_t segments_count, pt_tensor** result) {
    return guard(__func__, [&] {
        const fused::AttentionOptions options{scale, causal != 0, offset, window, softcap,
            std::vector<int64_t>(segments, segments + segments_count)};
        *result = wrap(fused::attention(ref(q), ref(k), ref(v), or_none(mask), options));
    });
}

int32_t pt_fused_set_loops(int32_t enabled) {
    return guard(__func__, [&] { fused::set_loops_enabled(enabled != 0); });
}

}  /* extern "C" */
