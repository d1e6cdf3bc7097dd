/* Optimizer steps over lists of parameters. */
#include <ATen/Parallel.h>
#include <cmath>

#include "guard.h"

namespace {

struct AdamW {
    double lr, beta1, beta2, eps, weight_decay;
};

/* One pass over memory for dense host tensors: p, m and v are read and written once. Arithmetic in T as PyTorch's
   single-tensor implementation orders it (torch/optim/adamw.py, _single_tensor_adamw). */
template <class T>
void adamw_dense(T* p, const T* g, T* m, T* v, int64_t count, const AdamW& o, int64_t step) {
    const auto decay = static_cast<T>(1.0 - o.lr * o.weight_decay);
    const auto beta2 = static_cast<T>(o.beta2);
    const auto rest1 = static_cast<T>(1.0 - o.beta1);
    const auto rest2 = static_cast<T>(1.0 - o.beta2);
    const auto size = static_cast<T>(o.lr / (1.0 - std::pow(o.beta1, static_cast<double>(step))));
    const auto root = static_cast<T>(std::sqrt(1.0 - std::pow(o.beta2, static_cast<double>(step))));
    const auto eps = static_cast<T>(o.eps);
    at::parallel_for(0, count, 16384, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const T gradient = g[i];
            const T first = m[i] + rest1 * (gradient - m[i]);
            const T second = v[i] * beta2 + rest2 * gradient * gradient;
            m[i] = first;
            v[i] = second;
            p[i] = p[i] * decay - size * (first / (std::sqrt(second) / root + eps));
        }
    });
}

/* The same by tensor operations: any device, dtype and layout. */
void adamw_any(at::Tensor& p, const at::Tensor& g, at::Tensor& m, at::Tensor& v, const AdamW& o, int64_t step) {
    p.mul_(1.0 - o.lr * o.weight_decay);
    m.lerp_(g, 1.0 - o.beta1);
    v.mul_(o.beta2).addcmul_(g, g, 1.0 - o.beta2);
    const auto root = std::sqrt(1.0 - std::pow(o.beta2, static_cast<double>(step)));
    p.addcdiv_(m, (v.sqrt() / root).add_(o.eps), -o.lr / (1.0 - std::pow(o.beta1, static_cast<double>(step))));
}

bool dense_on_host(const at::Tensor& p, const at::Tensor& g, const at::Tensor& m, const at::Tensor& v) {
    for (const auto* each : {&p, &g, &m, &v}) {
        if (!each->is_cpu() || !each->is_contiguous() || each->scalar_type() != p.scalar_type()) return false;
    }
    return true;
}

void check_lengths(size_t parameters, size_t state, int32_t counters) {
    TORCH_CHECK(parameters == state && parameters == static_cast<size_t>(counters), parameters, " parameters, ", state,
        " states, ", counters, " counters");
}

/* One norm over all of them, as a float32 scalar on the first one's device. */
at::Tensor norm_of(const std::vector<at::Tensor>& tensors, double norm_type) {
    std::vector<at::Tensor> norms;
    norms.reserve(tensors.size());
    const auto device = tensors.front().device();
    for (const auto& each : tensors) {
        const auto wide = each.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
        norms.push_back(at::linalg_vector_norm(each, norm_type, at::OptionalIntArrayRef(), false, wide)
            .to(device, at::kDouble));
    }
    return at::linalg_vector_norm(at::stack(norms), norm_type);
}

}  // namespace

using namespace peft;

extern "C" {

int32_t pt_adamw_step(pt_list* parameters, pt_list* exp_avgs, pt_list* exp_avg_sqs, int64_t* steps,
    int32_t steps_count, double lr, double beta1, double beta2, double eps, double weight_decay) {
    return guard(__func__, [&] {
        at::NoGradGuard no_grad;
        auto& params = ref(parameters);
        auto& firsts = ref(exp_avgs);
        auto& seconds = ref(exp_avg_sqs);
        check_lengths(params.size(), firsts.size(), steps_count);
        check_lengths(params.size(), seconds.size(), steps_count);
        const AdamW o{lr, beta1, beta2, eps, weight_decay};
        for (size_t i = 0; i < params.size(); ++i) {
            auto& p = params[i];
            const at::Tensor g = p.grad();
            if (!g.defined()) continue;
            auto& m = firsts[i];
            auto& v = seconds[i];
            TORCH_CHECK(g.sizes() == p.sizes() && m.sizes() == p.sizes() && v.sizes() == p.sizes(), "parameter ", i,
                " has shape ", p.sizes(), ", gradient ", g.sizes(), ", state ", m.sizes());
            const auto step = ++steps[i];
            if (p.scalar_type() == at::kFloat && dense_on_host(p, g, m, v)) {
                adamw_dense(p.data_ptr<float>(), g.data_ptr<float>(), m.data_ptr<float>(), v.data_ptr<float>(),
                    p.numel(), o, step);
            } else if (p.scalar_type() == at::kDouble && dense_on_host(p, g, m, v)) {
                adamw_dense(p.data_ptr<double>(), g.data_ptr<double>(), m.data_ptr<double>(), v.data_ptr<double>(),
                    p.numel(), o, step);
            } else {
                adamw_any(p, g.to(m.scalar_type()), m, v, o, step);
            }
        }
    });
}

int32_t pt_sgd_step(pt_list* parameters, pt_list* momentum_buffers, int64_t* steps, int32_t steps_count, double lr,
    double momentum, double dampening, double weight_decay, int32_t nesterov) {
    return guard(__func__, [&] {
        at::NoGradGuard no_grad;
        auto& params = ref(parameters);
        std::vector<at::Tensor> none;
        auto& buffers = momentum == 0.0 ? none : ref(momentum_buffers);
        check_lengths(params.size(), momentum == 0.0 ? params.size() : buffers.size(), steps_count);
        for (size_t i = 0; i < params.size(); ++i) {
            auto& p = params[i];
            at::Tensor g = p.grad();
            if (!g.defined()) continue;
            if (weight_decay != 0.0) g = g.add(p, weight_decay);
            if (momentum != 0.0) {
                auto& buffer = buffers[i];
                if (steps[i] == 0) {
                    buffer.copy_(g);
                } else {
                    buffer.mul_(momentum).add_(g, 1.0 - dampening);
                }
                g = nesterov != 0 ? g.add(buffer, momentum) : buffer;
            }
            p.add_(g, -lr);
            ++steps[i];
        }
    });
}

int32_t pt_clip_grad_norm(pt_list* parameters, double max_norm, double norm_type, double* norm) {
    return guard(__func__, [&] {
        at::NoGradGuard no_grad;
        std::vector<at::Tensor> gradients;
        for (const auto& p : ref(parameters)) {
            if (p.grad().defined()) gradients.push_back(p.grad());
        }
        if (gradients.empty()) {
            *norm = 0.0;
            return;
        }
        /* The factor stays on the device (torch.nn.utils.clip_grad_norm_): no wait per parameter. */
        const auto total = norm_of(gradients, norm_type);
        const auto factor = at::clamp(max_norm / (total + 1e-6), maybe<at::Scalar>(), maybe<at::Scalar>(1.0));
        *norm = total.item<double>();
        if (*norm + 1e-6 <= max_norm) return;
        for (auto& gradient : gradients) gradient.mul_(factor.to(gradient.device(), gradient.scalar_type()));
    });
}

int32_t pt_total_norm(pt_list* items, double norm_type, double* norm) {
    return guard(__func__, [&] {
        at::NoGradGuard no_grad;
        std::vector<at::Tensor> defined;
        for (const auto& item : ref(items)) {
            if (item.defined()) defined.push_back(item);
        }
        *norm = defined.empty() ? 0.0 : norm_of(defined, norm_type).item<double>();
    });
}

}  /* extern "C" */
