/* Element-wise arithmetic and matrix products. */
#include "guard.h"

/* A limit of clamp: NaN means none. */
static peft::maybe<at::Scalar> bound(const at::Tensor& self, double value) {
    return value != value ? peft::maybe<at::Scalar>() : peft::maybe<at::Scalar>(peft::scalar(self, value));
}

using namespace peft;

extern "C" {

int32_t pt_add(pt_tensor* a, pt_tensor* b, double alpha, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::add(ref(a), ref(b), scalar(ref(b), alpha))); });
}

int32_t pt_sub(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::sub(ref(a), ref(b))); });
}

int32_t pt_mul(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::mul(ref(a), ref(b))); });
}

int32_t pt_div(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::div(ref(a), ref(b))); });
}

int32_t pt_pow(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::pow(ref(a), ref(b))); });
}

int32_t pt_minimum(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::minimum(ref(a), ref(b))); });
}

int32_t pt_maximum(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::maximum(ref(a), ref(b))); });
}

int32_t pt_add_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::add(ref(a), scalar(ref(a), value))); });
}

int32_t pt_rsub_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::rsub(ref(a), scalar(ref(a), value))); });
}

int32_t pt_mul_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::mul(ref(a), scalar(ref(a), value))); });
}

int32_t pt_div_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::div(ref(a), scalar(ref(a), value))); });
}

int32_t pt_floor_divide_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::floor_divide(ref(a), scalar(ref(a), value))); });
}

int32_t pt_remainder_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::remainder(ref(a), scalar(ref(a), value))); });
}

int32_t pt_pow_scalar(pt_tensor* a, double exponent, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::pow(ref(a), scalar(ref(a), exponent))); });
}

int32_t pt_neg(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::neg(ref(a))); });
}

int32_t pt_exp(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::exp(ref(a))); });
}

int32_t pt_log(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::log(ref(a))); });
}

int32_t pt_log1p(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::log1p(ref(a))); });
}

int32_t pt_sqrt(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::sqrt(ref(a))); });
}

int32_t pt_rsqrt(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::rsqrt(ref(a))); });
}

int32_t pt_abs(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::abs(ref(a))); });
}

int32_t pt_sign(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::sign(ref(a))); });
}

int32_t pt_floor(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::floor(ref(a))); });
}

int32_t pt_ceil(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::ceil(ref(a))); });
}

int32_t pt_round(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::round(ref(a))); });
}

int32_t pt_sin(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::sin(ref(a))); });
}

int32_t pt_cos(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::cos(ref(a))); });
}

int32_t pt_relu(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::relu(ref(a))); });
}

int32_t pt_sigmoid(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::sigmoid(ref(a))); });
}

int32_t pt_tanh(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::tanh(ref(a))); });
}

int32_t pt_erf(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::erf(ref(a))); });
}

int32_t pt_erfinv(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::erfinv(ref(a))); });
}

int32_t pt_clamp(pt_tensor* a, double low, double high, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::clamp(ref(a), bound(ref(a), low), bound(ref(a), high))); });
}

int32_t pt_add_(pt_tensor* self, pt_tensor* other, double alpha) {
    return guard(__func__, [&] { ref(self).add_(ref(other), scalar(ref(other), alpha)); });
}

int32_t pt_sub_(pt_tensor* self, pt_tensor* other) {
    return guard(__func__, [&] { ref(self).sub_(ref(other)); });
}

int32_t pt_mul_(pt_tensor* self, pt_tensor* other) {
    return guard(__func__, [&] { ref(self).mul_(ref(other)); });
}

int32_t pt_div_(pt_tensor* self, pt_tensor* other) {
    return guard(__func__, [&] { ref(self).div_(ref(other)); });
}

int32_t pt_add_scalar_(pt_tensor* self, double value) {
    return guard(__func__, [&] { ref(self).add_(scalar(ref(self), value)); });
}

int32_t pt_mul_scalar_(pt_tensor* self, double value) {
    return guard(__func__, [&] { ref(self).mul_(scalar(ref(self), value)); });
}

int32_t pt_div_scalar_(pt_tensor* self, double value) {
    return guard(__func__, [&] { ref(self).div_(scalar(ref(self), value)); });
}

int32_t pt_addcmul_(pt_tensor* self, pt_tensor* a, pt_tensor* b, double value) {
    return guard(__func__, [&] { ref(self).addcmul_(ref(a), ref(b), value); });
}

int32_t pt_addcdiv_(pt_tensor* self, pt_tensor* a, pt_tensor* b, double value) {
    return guard(__func__, [&] { ref(self).addcdiv_(ref(a), ref(b), value); });
}

int32_t pt_lerp_(pt_tensor* self, pt_tensor* end, double weight) {
    return guard(__func__, [&] { ref(self).lerp_(ref(end), weight); });
}

int32_t pt_sqrt_(pt_tensor* self) {
    return guard(__func__, [&] { ref(self).sqrt_(); });
}

int32_t pt_clamp_(pt_tensor* self, double low, double high) {
    return guard(__func__, [&] { ref(self).clamp_(bound(ref(self), low), bound(ref(self), high)); });
}

int32_t pt_zero_(pt_tensor* self) {
    return guard(__func__, [&] { ref(self).zero_(); });
}

int32_t pt_fill_(pt_tensor* self, double value) {
    return guard(__func__, [&] { ref(self).fill_(scalar(ref(self), value)); });
}

int32_t pt_copy_(pt_tensor* self, pt_tensor* source) {
    return guard(__func__, [&] { ref(self).copy_(ref(source)); });
}

int32_t pt_matmul(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::matmul(ref(a), ref(b))); });
}

int32_t pt_mm(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::mm(ref(a), ref(b))); });
}

int32_t pt_bmm(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::bmm(ref(a), ref(b))); });
}

int32_t pt_addmm(pt_tensor* self, pt_tensor* a, pt_tensor* b, double beta, double alpha, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::addmm(ref(self), ref(a), ref(b), beta, alpha)); });
}

int32_t pt_addmm_(pt_tensor* self, pt_tensor* a, pt_tensor* b, double beta, double alpha) {
    return guard(__func__, [&] { ref(self).addmm_(ref(a), ref(b), beta, alpha); });
}

int32_t pt_einsum(const char* equation, pt_list* operands, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::einsum(equation, ref(operands))); });
}

int32_t pt_eq(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::eq(ref(a), ref(b))); });
}

int32_t pt_ne(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::ne(ref(a), ref(b))); });
}

int32_t pt_lt(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::lt(ref(a), ref(b))); });
}

int32_t pt_le(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::le(ref(a), ref(b))); });
}

int32_t pt_gt(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::gt(ref(a), ref(b))); });
}

int32_t pt_ge(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::ge(ref(a), ref(b))); });
}

int32_t pt_eq_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::eq(ref(a), scalar(ref(a), value))); });
}

int32_t pt_ne_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::ne(ref(a), scalar(ref(a), value))); });
}

int32_t pt_lt_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::lt(ref(a), scalar(ref(a), value))); });
}

int32_t pt_le_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::le(ref(a), scalar(ref(a), value))); });
}

int32_t pt_gt_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::gt(ref(a), scalar(ref(a), value))); });
}

int32_t pt_ge_scalar(pt_tensor* a, double value, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::ge(ref(a), scalar(ref(a), value))); });
}

int32_t pt_logical_and(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::logical_and(ref(a), ref(b))); });
}

int32_t pt_logical_or(pt_tensor* a, pt_tensor* b, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::logical_or(ref(a), ref(b))); });
}

int32_t pt_logical_not(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::logical_not(ref(a))); });
}

int32_t pt_isnan(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::isnan(ref(a))); });
}

int32_t pt_isfinite(pt_tensor* a, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::isfinite(ref(a))); });
}

int32_t pt_allclose(pt_tensor* a, pt_tensor* b, double rtol, double atol, int32_t equal_nan, int32_t* value) {
    return guard(__func__, [&] { *value = at::allclose(ref(a), ref(b), rtol, atol, equal_nan != 0); });
}

int32_t pt_equal(pt_tensor* a, pt_tensor* b, int32_t* value) {
    return guard(__func__, [&] { *value = ref(a).sizes() == ref(b).sizes() && at::equal(ref(a), ref(b)); });
}

}  /* extern "C" */
