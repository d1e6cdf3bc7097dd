/* y = x Wt + bias + scale * ((x At) o G) Bt: the one mixture operation that all routers meet in. */
#include "fused.h"
#include "fused_gemm.h"

namespace peft {
namespace fused {

namespace {

/* [N, C] times gates [N, G] broadcast over the C / G columns of each gate; the product in the gates' type when that is wider. */
Tensor times_gates(const Tensor& h, const Tensor& gates) {
    if (!gates.defined()) return h;
    const int64_t n = h.size(0), c = h.size(1), g = gates.size(1);
    const at::ScalarType wide = at::promote_types(h.scalar_type(), gates.scalar_type());
    return h.to(wide).view({n, g, c / g}).mul(gates.to(wide).unsqueeze(2)).view({n, c}).to(h.scalar_type());
}

Tensor rows_of(const Tensor& x, at::ScalarType compute) { return x.reshape({-1, x.size(-1)}).to(compute); }

Tensor of(const Tensor& like, Tensor rows) { return rows.to(like.scalar_type()).view(like.sizes()); }

/* Indices of the inputs, in the order of forward and of the gradients. */
enum Input { X, Weight, Bias, A, B, Gates, LoraInput, InputCount };

struct LoraMixtureLinear : public Function<LoraMixtureLinear> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Optional& bias_given,
                          const Optional& a_given, const Optional& b_given, const Optional& gates_given,
                          const Optional& lora_input_given, double scale) {
        const Tensor bias = tensor_of(bias_given), a = tensor_of(a_given), b = tensor_of(b_given), gates = tensor_of(gates_given),
                     lora_input = tensor_of(lora_input_given);
        const at::ScalarType compute = compute_type(x);
        const Tensor rows = rows_of(x, compute);
        Tensor y = linear_rows(rows, weight, bias, compute);
        Tensor h, gate_rows;
        if (a.defined()) {
            h = product(lora_input.defined() ? rows_of(lora_input, compute) : rows, a.to(compute).t());
            if (gates.defined()) gate_rows = gates.reshape({-1, gates.size(-1)});
            add_product(y, times_gates(h, gate_rows), b.to(compute).t(), scale);
        }
        if (ctx != nullptr) keep(ctx, x, weight, bias, a, b, gates, lora_input, h, scale, compute);
        std::vector<int64_t> shape = x.sizes().vec();
        shape.back() = weight.size(0);
        /* Not view: an output that is a view may not be changed in place by those who receive it. */
        return at::_unsafe_view(y.to(x.scalar_type()), shape);
    }

    static void keep(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& a, const Tensor& b,
                     const Tensor& gates, const Tensor& lora_input, const Tensor& h, double scale, at::ScalarType compute) {
        int64_t needs = 0;
        const Tensor* inputs[] = {&x, &weight, &bias, &a, &b, &gates, &lora_input};
        for (int i = 0; i < InputCount; ++i)
            if (inputs[i]->defined() && inputs[i]->requires_grad()) needs |= int64_t(1) << i;
        const auto needed = [&](int i) { return (needs >> i & 1) != 0; };
        /* The input is kept only for the gradients that are sums over rows of it. */
        const bool keep_x = needed(Weight) || (needed(A) && !lora_input.defined());
        ctx->save_for_backward({keep_x ? x : Tensor(), weight, a, b, gates, needed(A) ? lora_input : Tensor(),
                                needed(B) || needed(Gates) ? h : Tensor()});
        ctx->saved_data["needs"] = needs;
        ctx->saved_data["scale"] = scale;
        ctx->saved_data["shape"] = x.sizes().vec();
        ctx->saved_data["type"] = static_cast<int64_t>(x.scalar_type());
        ctx->saved_data["compute"] = static_cast<int64_t>(compute);
        ctx->saved_data["split"] = lora_input.defined();
        ctx->saved_data["bias_type"] = static_cast<int64_t>(bias.defined() ? bias.scalar_type() : x.scalar_type());
    }

    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        refuse_double_backward("lora_mixture_linear");
        variable_list result(InputCount + 1);
        if (!gradients[0].defined()) return result;
        const int64_t needs = ctx->saved_data["needs"].toInt();
        const auto needed = [&](int i) { return (needs >> i & 1) != 0; };
        const double scale = ctx->saved_data["scale"].toDouble();
        const bool split = ctx->saved_data["split"].toBool();
        const auto compute = static_cast<at::ScalarType>(ctx->saved_data["compute"].toInt());
        const auto type = static_cast<at::ScalarType>(ctx->saved_data["type"].toInt());
        const std::vector<int64_t> shape = ctx->saved_data["shape"].toIntVector();
        const auto saved = ctx->get_saved_variables();
        const Tensor &x = saved[0], &weight = saved[1], &a = saved[2], &b = saved[3], &gates = saved[4],
                     &lora_input = saved[5], &h = saved[6];

        const Tensor dy = rows_of(gradients[0], compute);
        Tensor dx, dh;
        if (needed(X)) dx = product(dy, weight.to(compute));
        if (a.defined()) {
            const Tensor gate_rows = gates.defined() ? gates.reshape({-1, gates.size(-1)}) : Tensor();
            if (needed(Gates) || needed(A) || needed(LoraInput) || (needed(X) && !split)) {
                const Tensor dhg = product(dy, b.to(compute)).mul_(scale);
                if (needed(Gates)) {
                    const int64_t g = gate_rows.size(1);
                    const at::ScalarType wide = at::promote_types(compute, gates.scalar_type());
                    result[Gates] = of(gates, dhg.to(wide).mul(h).view({dhg.size(0), g, -1}).sum(2));
                }
                dh = times_gates(dhg, gate_rows);
            }
            if (needed(B)) result[B] = of(b, product(dy.t(), times_gates(h, gate_rows)).mul_(scale));
            if (needed(A)) result[A] = of(a, product(dh.t(), rows_of(split ? lora_input : x, compute)));
            if (needed(LoraInput)) result[LoraInput] = product(dh, a.to(compute)).to(type).view(shape);
            if (needed(X) && !split) add_product(dx, dh, a.to(compute), 1.0);
        }
        if (needed(X)) result[X] = dx.to(type).view(shape);
        if (needed(Weight)) result[Weight] = of(weight, product(dy.t(), rows_of(x, compute)));
        if (needed(Bias)) result[Bias] = dy.sum(0).to(static_cast<at::ScalarType>(ctx->saved_data["bias_type"].toInt()));
        return result;
    }
};

void check_linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
    TORCH_CHECK(x.dim() >= 1 && weight.dim() == 2 && x.size(-1) == weight.size(1), "x ", x.sizes(), " does not meet weight ",
                weight.sizes(), "; x is [..., D] and weight [O, D]");
    TORCH_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == weight.size(0)), "bias ", bias.sizes(),
                " does not meet weight ", weight.sizes(), "; bias is [O]");
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
    check_linear(x, weight, bias);
    if (!at::GradMode::is_enabled()) {
        const Tensor y = few_rows_linear(x, weight, bias);
        if (y.defined()) return y;
    }
    return run<LoraMixtureLinear>(x, weight, optional(bias), Optional(), Optional(), Optional(), Optional(), 1.0);
}

Tensor lora_mixture_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& a, const Tensor& b,
                           const Tensor& gates, const Tensor& lora_input, double scale) {
    check_linear(x, weight, bias);
    TORCH_CHECK(a.dim() == 2 && a.size(1) == weight.size(1), "a ", a.sizes(), " does not meet weight ", weight.sizes(),
                "; a is [C, D]");
    TORCH_CHECK(b.dim() == 2 && b.size(0) == weight.size(0) && b.size(1) == a.size(0), "b ", b.sizes(),
                " does not meet weight ", weight.sizes(), " and a ", a.sizes(), "; b is [O, C]");
    TORCH_CHECK(!lora_input.defined() || (lora_input.sizes() == x.sizes() && lora_input.scalar_type() == x.scalar_type()),
                "loraInput differs from x ", x.sizes(), " in shape or type; it is x after dropout");
    if (gates.defined()) {
        TORCH_CHECK(gates.dim() >= 1 && gates.size(-1) > 0 && a.size(0) % gates.size(-1) == 0, "gates ", gates.sizes(),
                    " do not divide the ", a.size(0), " columns of a; gates are [N, G] with C a multiple of G");
        TORCH_CHECK(gates.numel() / gates.size(-1) == x.numel() / std::max<int64_t>(1, x.size(-1)), "gates ", gates.sizes(),
                    " do not have one row for each row of x ", x.sizes());
    }
    return run<LoraMixtureLinear>(x, weight, optional(bias), optional(a), optional(b), optional(gates), optional(lora_input), scale);
}

}  // namespace fused
}  // namespace peft
