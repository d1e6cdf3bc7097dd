/* Functions of layers. */
#include "fused.h"
#include "guard.h"

using namespace peft;

extern "C" {

int32_t pt_linear(pt_tensor* x, pt_tensor* weight, pt_tensor* bias, pt_tensor** result) {
    return guard(__func__, [&] {
        const auto& input = ref(x);
        /* What the mixtures compute in their own way takes the same path here, so that both give the same bits. */
        const bool own = fused::compute_type(input) != input.scalar_type() || (input.is_cpu() && input.scalar_type() == at::kFloat);
        *result = wrap(own ? fused::linear(input, ref(weight), bias == nullptr ? at::Tensor() : ref(bias))
                           : at::linear(input, ref(weight), opt(bias)));
    });
}

int32_t pt_embedding(pt_tensor* weight, pt_tensor* ids, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::embedding(ref(weight), ref(ids))); });
}

int32_t pt_softmax(pt_tensor* x, int64_t dim, int32_t dtype, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::softmax(ref(x), dim, opt_type(dtype))); });
}

int32_t pt_log_softmax(pt_tensor* x, int64_t dim, int32_t dtype, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::log_softmax(ref(x), dim, opt_type(dtype))); });
}

int32_t pt_layer_norm(pt_tensor* x, const int64_t* shape, int32_t shape_count, pt_tensor* weight, pt_tensor* bias,
    double eps, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::layer_norm(ref(x), ints(shape, shape_count), opt(weight), opt(bias), eps));
    });
}

int32_t pt_cross_entropy(pt_tensor* logits, pt_tensor* target, int64_t ignore_index, int32_t reduction,
    double label_smoothing, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::cross_entropy_loss(ref(logits), ref(target), {}, reduction, ignore_index,
            label_smoothing));
    });
}

int32_t pt_nll_loss(pt_tensor* log_probabilities, pt_tensor* target, int64_t ignore_index, int32_t reduction,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::nll_loss(ref(log_probabilities), ref(target), {}, reduction, ignore_index));
    });
}

int32_t pt_mse_loss(pt_tensor* input, pt_tensor* target, int32_t reduction, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::mse_loss(ref(input), ref(target), reduction)); });
}

int32_t pt_gelu(pt_tensor* x, int32_t tanh, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::gelu(ref(x), tanh != 0 ? "tanh" : "none")); });
}

int32_t pt_silu(pt_tensor* x, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::silu(ref(x))); });
}

int32_t pt_softplus(pt_tensor* x, double beta, double threshold, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::softplus(ref(x), beta, threshold)); });
}

int32_t pt_log_sigmoid(pt_tensor* x, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::log_sigmoid(ref(x))); });
}

int32_t pt_dropout(pt_tensor* x, double p, pt_generator* random, pt_tensor** result) {
    return guard(__func__, [&] {
        TORCH_CHECK(p >= 0.0 && p <= 1.0, "p is ", p, "; allowed: 0 to 1");
        const auto& input = ref(x);
        if (p == 0.0) {
            *result = wrap(input);
        } else if (p == 1.0) {
            *result = wrap(input * 0.0);
        } else {
            auto keep = at::empty_like(input);
            {
                at::NoGradGuard no_grad;
                keep.bernoulli_(1.0 - p, opt(random)).div_(1.0 - p);
            }
            *result = wrap(input * keep);
        }
    });
}

}  /* extern "C" */
