/* The part of the C ABI that computes on elements; included by peft_torch.h inside extern "C". */
#ifndef PEFT_TORCH_OPS_H
#define PEFT_TORCH_OPS_H

/* ---- tensor_math: element-wise arithmetic and matrix products ---- */
/* a + alpha * b. */
PT_API int32_t pt_add(pt_tensor* a, pt_tensor* b, double alpha, pt_tensor** result);
/* a - b. */
PT_API int32_t pt_sub(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* a * b. */
PT_API int32_t pt_mul(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* a / b. */
PT_API int32_t pt_div(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* a to the power b. */
PT_API int32_t pt_pow(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* Element-wise smaller. */
PT_API int32_t pt_minimum(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* Element-wise larger. */
PT_API int32_t pt_maximum(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* a + value. */
PT_API int32_t pt_add_scalar(pt_tensor* a, double value, pt_tensor** result);
/* value - a. */
PT_API int32_t pt_rsub_scalar(pt_tensor* a, double value, pt_tensor** result);
/* a * value. */
PT_API int32_t pt_mul_scalar(pt_tensor* a, double value, pt_tensor** result);
/* a / value. */
PT_API int32_t pt_div_scalar(pt_tensor* a, double value, pt_tensor** result);
/* a divided by value, rounded down. */
PT_API int32_t pt_floor_divide_scalar(pt_tensor* a, double value, pt_tensor** result);
/* a modulo value, with the sign of value. */
PT_API int32_t pt_remainder_scalar(pt_tensor* a, double value, pt_tensor** result);
/* a to the power exponent. */
PT_API int32_t pt_pow_scalar(pt_tensor* a, double exponent, pt_tensor** result);
/* -a. */
PT_API int32_t pt_neg(pt_tensor* a, pt_tensor** result);
/* e to the power a. */
PT_API int32_t pt_exp(pt_tensor* a, pt_tensor** result);
/* Natural logarithm. */
PT_API int32_t pt_log(pt_tensor* a, pt_tensor** result);
/* log(1 + a). */
PT_API int32_t pt_log1p(pt_tensor* a, pt_tensor** result);
/* Square root. */
PT_API int32_t pt_sqrt(pt_tensor* a, pt_tensor** result);
/* 1 / sqrt(a). */
PT_API int32_t pt_rsqrt(pt_tensor* a, pt_tensor** result);
/* Absolute value. */
PT_API int32_t pt_abs(pt_tensor* a, pt_tensor** result);
/* -1, 0 or 1. */
PT_API int32_t pt_sign(pt_tensor* a, pt_tensor** result);
/* Largest whole number not above a. */
PT_API int32_t pt_floor(pt_tensor* a, pt_tensor** result);
/* Smallest whole number not below a. */
PT_API int32_t pt_ceil(pt_tensor* a, pt_tensor** result);
/* Nearest whole number, halves to even. */
PT_API int32_t pt_round(pt_tensor* a, pt_tensor** result);
/* Sine. */
PT_API int32_t pt_sin(pt_tensor* a, pt_tensor** result);
/* Cosine. */
PT_API int32_t pt_cos(pt_tensor* a, pt_tensor** result);
/* max(a, 0). */
PT_API int32_t pt_relu(pt_tensor* a, pt_tensor** result);
/* 1 / (1 + exp(-a)). */
PT_API int32_t pt_sigmoid(pt_tensor* a, pt_tensor** result);
/* Hyperbolic tangent. */
PT_API int32_t pt_tanh(pt_tensor* a, pt_tensor** result);
/* Gauss error function. */
PT_API int32_t pt_erf(pt_tensor* a, pt_tensor** result);
/* Inverse of the Gauss error function. */
PT_API int32_t pt_erfinv(pt_tensor* a, pt_tensor** result);
/* Limits to [low, high]; NaN = no limit on that side. */
PT_API int32_t pt_clamp(pt_tensor* a, double low, double high, pt_tensor** result);
/* In place: self + alpha * other. */
PT_API int32_t pt_add_(pt_tensor* self, pt_tensor* other, double alpha);
/* In place: self - other. */
PT_API int32_t pt_sub_(pt_tensor* self, pt_tensor* other);
/* In place: self * other. */
PT_API int32_t pt_mul_(pt_tensor* self, pt_tensor* other);
/* In place: self / other. */
PT_API int32_t pt_div_(pt_tensor* self, pt_tensor* other);
/* In place: self + value. */
PT_API int32_t pt_add_scalar_(pt_tensor* self, double value);
/* In place: self * value. */
PT_API int32_t pt_mul_scalar_(pt_tensor* self, double value);
/* In place: self / value. */
PT_API int32_t pt_div_scalar_(pt_tensor* self, double value);
/* In place: self + value * a * b. */
PT_API int32_t pt_addcmul_(pt_tensor* self, pt_tensor* a, pt_tensor* b, double value);
/* In place: self + value * a / b. */
PT_API int32_t pt_addcdiv_(pt_tensor* self, pt_tensor* a, pt_tensor* b, double value);
/* In place: self + weight * (end - self). */
PT_API int32_t pt_lerp_(pt_tensor* self, pt_tensor* end, double weight);
/* In place: square root. */
PT_API int32_t pt_sqrt_(pt_tensor* self);
/* In place: limits to [low, high]; NaN = no limit on that side. */
PT_API int32_t pt_clamp_(pt_tensor* self, double low, double high);
/* In place: zeros. */
PT_API int32_t pt_zero_(pt_tensor* self);
/* In place: one value everywhere. */
PT_API int32_t pt_fill_(pt_tensor* self, double value);
/* In place: the elements of another tensor, converted and broadcast. */
PT_API int32_t pt_copy_(pt_tensor* self, pt_tensor* source);
/* Matrix product with broadcasting over leading dimensions. */
PT_API int32_t pt_matmul(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* [N,K] x [K,M] -> [N,M]. */
PT_API int32_t pt_mm(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* [B,N,K] x [B,K,M] -> [B,N,M]. */
PT_API int32_t pt_bmm(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* beta * self + alpha * a b. */
PT_API int32_t pt_addmm(pt_tensor* self, pt_tensor* a, pt_tensor* b, double beta, double alpha, pt_tensor** result);
/* In place: beta * self + alpha * a b. */
PT_API int32_t pt_addmm_(pt_tensor* self, pt_tensor* a, pt_tensor* b, double beta, double alpha);
/* Einstein summation. */
PT_API int32_t pt_einsum(const char* equation, pt_list* operands, pt_tensor** result);
/* 1 where equal. */
PT_API int32_t pt_eq(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* 1 where not equal. */
PT_API int32_t pt_ne(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* 1 where a < b. */
PT_API int32_t pt_lt(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* 1 where a <= b. */
PT_API int32_t pt_le(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* 1 where a > b. */
PT_API int32_t pt_gt(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* 1 where a >= b. */
PT_API int32_t pt_ge(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* 1 where equal to a value. */
PT_API int32_t pt_eq_scalar(pt_tensor* a, double value, pt_tensor** result);
/* 1 where not equal to a value. */
PT_API int32_t pt_ne_scalar(pt_tensor* a, double value, pt_tensor** result);
/* 1 where below a value. */
PT_API int32_t pt_lt_scalar(pt_tensor* a, double value, pt_tensor** result);
/* 1 where at most a value. */
PT_API int32_t pt_le_scalar(pt_tensor* a, double value, pt_tensor** result);
/* 1 where above a value. */
PT_API int32_t pt_gt_scalar(pt_tensor* a, double value, pt_tensor** result);
/* 1 where at least a value. */
PT_API int32_t pt_ge_scalar(pt_tensor* a, double value, pt_tensor** result);
/* Both. */
PT_API int32_t pt_logical_and(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* Either. */
PT_API int32_t pt_logical_or(pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* Not. */
PT_API int32_t pt_logical_not(pt_tensor* a, pt_tensor** result);
/* 1 where not a number. */
PT_API int32_t pt_isnan(pt_tensor* a, pt_tensor** result);
/* 1 where finite. */
PT_API int32_t pt_isfinite(pt_tensor* a, pt_tensor** result);
/* Whether all elements are close. */
PT_API int32_t pt_allclose(pt_tensor* a, pt_tensor* b, double rtol, double atol, int32_t equal_nan, int32_t* value);
/* Whether shape and elements are the same. */
PT_API int32_t pt_equal(pt_tensor* a, pt_tensor* b, int32_t* value);

/* ---- tensor_shape: views, copies, conversions, joining ---- */
/* Another type or device; the same tensor where nothing changes (dtype negative, device_type negative = the same). */
PT_API int32_t pt_to(pt_tensor* self, int32_t dtype, int32_t device_type, int32_t device_index, int32_t copy,
    pt_tensor** result);
/* A copy. */
PT_API int32_t pt_clone(pt_tensor* self, pt_tensor** result);
/* Without autograd, sharing the data. */
PT_API int32_t pt_detach(pt_tensor* self, pt_tensor** result);
/* A second handle of the same tensor. */
PT_API int32_t pt_alias(pt_tensor* self, pt_tensor** result);
/* Row-major without gaps; the same tensor where it is so. */
PT_API int32_t pt_contiguous(pt_tensor* self, pt_tensor** result);
/* Matrix transpose of at most two dimensions. */
PT_API int32_t pt_t(pt_tensor* self, pt_tensor** result);
/* Two dimensions exchanged. */
PT_API int32_t pt_transpose(pt_tensor* self, int64_t a, int64_t b, pt_tensor** result);
/* Dimensions in another order. */
PT_API int32_t pt_permute(pt_tensor* self, const int64_t* dims, int32_t dims_count, pt_tensor** result);
/* Another shape, copying where needed. */
PT_API int32_t pt_reshape(pt_tensor* self, const int64_t* shape, int32_t shape_count, pt_tensor** result);
/* Another shape of the same memory. */
PT_API int32_t pt_view(pt_tensor* self, const int64_t* shape, int32_t shape_count, pt_tensor** result);
/* Dimensions start..end become one. */
PT_API int32_t pt_flatten(pt_tensor* self, int64_t start, int64_t end, pt_tensor** result);
/* A dimension of size 1 inserted. */
PT_API int32_t pt_unsqueeze(pt_tensor* self, int64_t dim, pt_tensor** result);
/* A dimension of size 1 removed. */
PT_API int32_t pt_squeeze(pt_tensor* self, int64_t dim, pt_tensor** result);
/* All dimensions of size 1 removed. */
PT_API int32_t pt_squeeze_all(pt_tensor* self, pt_tensor** result);
/* Broadcast view; -1 keeps a size. */
PT_API int32_t pt_expand(pt_tensor* self, const int64_t* shape, int32_t shape_count, pt_tensor** result);
/* Tiled copy. */
PT_API int32_t pt_repeat(pt_tensor* self, const int64_t* counts, int32_t counts_count, pt_tensor** result);
/* Each element count times along dim. */
PT_API int32_t pt_repeat_interleave(pt_tensor* self, int64_t count, int64_t dim, pt_tensor** result);
/* Row i counts[i] times along dim. */
PT_API int32_t pt_repeat_interleave_each(pt_tensor* self, pt_tensor* counts, int64_t dim, pt_tensor** result);
/* Pieces of at most size along dim. */
PT_API int32_t pt_split(pt_tensor* self, int64_t size, int64_t dim, pt_list** result);
/* Pieces of given sizes along dim. */
PT_API int32_t pt_split_sizes(pt_tensor* self, const int64_t* sizes, int32_t sizes_count, int64_t dim,
    pt_list** result);
/* At most count pieces along dim. */
PT_API int32_t pt_chunk(pt_tensor* self, int64_t count, int64_t dim, pt_list** result);
/* Joined along an existing dimension. */
PT_API int32_t pt_cat(pt_list* items, int64_t dim, pt_tensor** result);
/* Joined along a new dimension. */
PT_API int32_t pt_stack(pt_list* items, int64_t dim, pt_tensor** result);
/* Upper triangle; the rest zero. */
PT_API int32_t pt_triu(pt_tensor* self, int64_t diagonal, pt_tensor** result);
/* Lower triangle; the rest zero. */
PT_API int32_t pt_tril(pt_tensor* self, int64_t diagonal, pt_tensor** result);
/* Reversed along dimensions. */
PT_API int32_t pt_flip(pt_tensor* self, const int64_t* dims, int32_t dims_count, pt_tensor** result);
/* The diagonal of a matrix, or the matrix of a diagonal. */
PT_API int32_t pt_diag(pt_tensor* self, int64_t diagonal, pt_tensor** result);
/* Zeros or a value added around the last dimensions. */
PT_API int32_t pt_pad(pt_tensor* self, const int64_t* amounts, int32_t amounts_count, double value,
    pt_tensor** result);

/* ---- tensor_index: selecting and placing elements ---- */
/* A range along dim, as a view. */
PT_API int32_t pt_narrow(pt_tensor* self, int64_t dim, int64_t start, int64_t length, pt_tensor** result);
/* start..stop by step along dim, as a view. */
PT_API int32_t pt_slice(pt_tensor* self, int64_t dim, int64_t start, int64_t stop, int64_t step, pt_tensor** result);
/* One index along dim, as a view without that dimension. */
PT_API int32_t pt_select(pt_tensor* self, int64_t dim, int64_t index, pt_tensor** result);
/* Chosen rows along dim. */
PT_API int32_t pt_index_select(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor** result);
/* One element per index along dim. */
PT_API int32_t pt_gather(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor** result);
/* source placed by index along dim. */
PT_API int32_t pt_scatter(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source, pt_tensor** result);
/* A value placed by index along dim. */
PT_API int32_t pt_scatter_value(pt_tensor* self, int64_t dim, pt_tensor* index, double value, pt_tensor** result);
/* source added by index along dim. */
PT_API int32_t pt_scatter_add(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source, pt_tensor** result);
/* source rows added at index along dim. */
PT_API int32_t pt_index_add(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source, pt_tensor** result);
/* In place: source placed by index along dim. */
PT_API int32_t pt_scatter_(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source);
/* In place: a value placed by index along dim. */
PT_API int32_t pt_scatter_value_(pt_tensor* self, int64_t dim, pt_tensor* index, double value);
/* In place: source rows written at index along dim. */
PT_API int32_t pt_index_copy_(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source);
/* In place: source rows added at index along dim. */
PT_API int32_t pt_index_add_(pt_tensor* self, int64_t dim, pt_tensor* index, pt_tensor* source);
/* In place: a value where the mask is 1. */
PT_API int32_t pt_masked_fill_(pt_tensor* self, pt_tensor* mask, double value);
/* A value where the mask is 1. */
PT_API int32_t pt_masked_fill(pt_tensor* self, pt_tensor* mask, double value, pt_tensor** result);
/* The elements where the mask is 1, in one dimension. */
PT_API int32_t pt_masked_select(pt_tensor* self, pt_tensor* mask, pt_tensor** result);
/* a where the condition is 1, else b. */
PT_API int32_t pt_where(pt_tensor* condition, pt_tensor* a, pt_tensor* b, pt_tensor** result);
/* Indices of nonzero elements [n, dim]. */
PT_API int32_t pt_nonzero(pt_tensor* self, pt_tensor** result);
/* 1 at each class, else 0 [..., classes]; int64. */
PT_API int32_t pt_one_hot(pt_tensor* self, int64_t classes, pt_tensor** result);
/* How often each whole number occurs [>= minlength]. */
PT_API int32_t pt_bincount(pt_tensor* self, pt_tensor* weights, int64_t minlength, pt_tensor** result);

/* ---- tensor_reduce: sums, extrema, sorting ---- */
/* Sum of all elements (dtype negative = by libtorch's rule). */
PT_API int32_t pt_sum(pt_tensor* self, int32_t dtype, pt_tensor** result);
/* Sum along dimensions. */
PT_API int32_t pt_sum_dim(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t keepdim, int32_t dtype,
    pt_tensor** result);
/* Mean of all elements. */
PT_API int32_t pt_mean(pt_tensor* self, int32_t dtype, pt_tensor** result);
/* Mean along dimensions. */
PT_API int32_t pt_mean_dim(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t keepdim, int32_t dtype,
    pt_tensor** result);
/* Product of all elements. */
PT_API int32_t pt_prod(pt_tensor* self, pt_tensor** result);
/* Largest along dimensions; gradient shared among equals. */
PT_API int32_t pt_amax(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t keepdim, pt_tensor** result);
/* Smallest along dimensions. */
PT_API int32_t pt_amin(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t keepdim, pt_tensor** result);
/* Largest of all elements. */
PT_API int32_t pt_max(pt_tensor* self, pt_tensor** result);
/* Smallest of all elements. */
PT_API int32_t pt_min(pt_tensor* self, pt_tensor** result);
/* Largest along dim, and where. */
PT_API int32_t pt_max_dim(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** values, pt_tensor** indices);
/* Smallest along dim, and where. */
PT_API int32_t pt_min_dim(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** values, pt_tensor** indices);
/* Index of the largest along dim. */
PT_API int32_t pt_argmax(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** result);
/* Index of the smallest along dim. */
PT_API int32_t pt_argmin(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** result);
/* Standard deviation of all elements. */
PT_API int32_t pt_std(pt_tensor* self, int32_t unbiased, pt_tensor** result);
/* Standard deviation along dimensions. */
PT_API int32_t pt_std_dim(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t unbiased,
    int32_t keepdim, pt_tensor** result);
/* Variance of all elements. */
PT_API int32_t pt_var(pt_tensor* self, int32_t unbiased, pt_tensor** result);
/* Variance along dimensions. */
PT_API int32_t pt_var_dim(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t unbiased,
    int32_t keepdim, pt_tensor** result);
/* p-norm of all elements. */
PT_API int32_t pt_norm(pt_tensor* self, double p, pt_tensor** result);
/* p-norm along dimensions. */
PT_API int32_t pt_norm_dim(pt_tensor* self, double p, const int64_t* dims, int32_t dims_count, int32_t keepdim,
    pt_tensor** result);
/* log of the sum of exponentials along dimensions. */
PT_API int32_t pt_logsumexp(pt_tensor* self, const int64_t* dims, int32_t dims_count, int32_t keepdim,
    pt_tensor** result);
/* Running sum along dim. */
PT_API int32_t pt_cumsum(pt_tensor* self, int64_t dim, int32_t dtype, pt_tensor** result);
/* The k largest or smallest along dim, and where. */
PT_API int32_t pt_topk(pt_tensor* self, int64_t k, int64_t dim, int32_t largest, int32_t sorted, pt_tensor** values,
    pt_tensor** indices);
/* Sorted along dim, and from where. */
PT_API int32_t pt_sort(pt_tensor* self, int64_t dim, int32_t descending, int32_t stable, pt_tensor** values,
    pt_tensor** indices);
/* Whether any element is not zero. */
PT_API int32_t pt_any(pt_tensor* self, pt_tensor** result);
/* Whether any element along dim is not zero. */
PT_API int32_t pt_any_dim(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** result);
/* Whether all elements are not zero. */
PT_API int32_t pt_all(pt_tensor* self, pt_tensor** result);
/* Whether all elements along dim are not zero. */
PT_API int32_t pt_all_dim(pt_tensor* self, int64_t dim, int32_t keepdim, pt_tensor** result);
/* Whether every element of every tensor is finite; reads the device once. */
PT_API int32_t pt_all_finite(pt_list* items, int32_t* value);

/* ---- linear_algebra: decompositions and norms ---- */
/* Reduced or full singular value decomposition: self = u diag(s) vh. */
PT_API int32_t pt_svd(pt_tensor* self, int32_t full_matrices, pt_tensor** u, pt_tensor** s, pt_tensor** vh);
/* Eigenvalues (ascending) and vectors of a symmetric matrix; lower triangle read. */
PT_API int32_t pt_eigh(pt_tensor* self, pt_tensor** values, pt_tensor** vectors);
/* Reduced QR decomposition. */
PT_API int32_t pt_qr(pt_tensor* self, pt_tensor** q, pt_tensor** r);
/* Vector norm of all elements. */
PT_API int32_t pt_vector_norm(pt_tensor* self, double order, pt_tensor** result);
/* Vector norm along dimensions. */
PT_API int32_t pt_vector_norm_dim(pt_tensor* self, double order, const int64_t* dims, int32_t dims_count,
    int32_t keepdim, pt_tensor** result);
/* Solves a x = b. */
PT_API int32_t pt_solve(pt_tensor* a, pt_tensor* b, pt_tensor** result);

#endif
