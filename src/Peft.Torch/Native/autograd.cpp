/* Gradients. */
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "guard.h"

using namespace peft;

extern "C" {

int32_t pt_get_grad_enabled(int32_t* on) {
    return guard(__func__, [&] { *on = c10::GradMode::is_enabled(); });
}

int32_t pt_set_grad_enabled(int32_t on) {
    return guard(__func__, [&] { c10::GradMode::set_enabled(on != 0); });
}

int32_t pt_tensor_requires_grad(pt_tensor* self, int32_t* value) {
    return guard(__func__, [&] { *value = ref(self).requires_grad(); });
}

int32_t pt_tensor_set_requires_grad(pt_tensor* self, int32_t on) {
    return guard(__func__, [&] { ref(self).set_requires_grad(on != 0); });
}

int32_t pt_tensor_is_leaf(pt_tensor* self, int32_t* value) {
    return guard(__func__, [&] { *value = ref(self).is_leaf(); });
}

int32_t pt_tensor_grad(pt_tensor* self, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::Tensor(ref(self).grad())); });
}

int32_t pt_tensor_set_grad(pt_tensor* self, pt_tensor* grad) {
    return guard(__func__, [&] { ref(self).mutable_grad() = grad == nullptr ? at::Tensor() : ref(grad); });
}

int32_t pt_tensor_retain_grad(pt_tensor* self) {
    return guard(__func__, [&] { ref(self).retain_grad(); });
}

int32_t pt_zero_grad(pt_list* items) {
    return guard(__func__, [&] { for (auto& item : ref(items)) { item.mutable_grad() = at::Tensor(); } });
}

int32_t pt_backward(pt_tensor* self, pt_tensor* gradient, int32_t retain_graph, int32_t create_graph) {
    return guard(__func__, [&] {
        ref(self).backward(gradient == nullptr ? at::Tensor() : ref(gradient),
            maybe<bool>(retain_graph != 0 || create_graph != 0), create_graph != 0);
    });
}

int32_t pt_backward_list(pt_list* items, pt_list* gradients, int32_t retain_graph, int32_t create_graph) {
    return guard(__func__, [&] {
        torch::autograd::backward(ref(items), ref(gradients), maybe<bool>(retain_graph != 0 || create_graph != 0), create_graph != 0);
    });
}

int32_t pt_grad(pt_list* outputs, pt_list* inputs, pt_list* grad_outputs, int32_t retain_graph, int32_t create_graph,
    int32_t allow_unused, pt_list** result) {
    return guard(__func__, [&] {
        const auto given = grad_outputs == nullptr ? std::vector<at::Tensor>() : ref(grad_outputs);
        *result = new pt_list{torch::autograd::grad(ref(outputs), ref(inputs), given,
            maybe<bool>(retain_graph != 0 || create_graph != 0), create_graph != 0, allow_unused != 0)};
    });
}

}  /* extern "C" */
