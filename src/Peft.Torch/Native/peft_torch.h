/* The whole C ABI of the shim over libtorch, with the two headers it includes at its end. Plain C11.
   Every function returns a status: PT_OK, or an error whose text pt_last_error gives (per thread).
   Results are the trailing out parameters, written only on success; each handle given out is freed once by the caller.
   dtype: ATen's ScalarType number, negative = not given. device_type: 0 = cpu, 1 = cuda. Flags are 0 or 1. */
#ifndef PEFT_TORCH_H
#define PEFT_TORCH_H

#include <stdint.h>

#ifdef PEFT_TORCH_BUILD
#define PT_API __attribute__((visibility("default")))
#else
#define PT_API
#endif

/* Raised by one whenever a signature below changes its meaning. */
#define PT_ABI_VERSION 2

#define PT_OK 0
#define PT_TORCH_ERROR 1     /* c10::Error */
#define PT_OUT_OF_MEMORY 2   /* std::bad_alloc */
#define PT_STANDARD_ERROR 3  /* any other std::exception */
#define PT_UNKNOWN_ERROR 4   /* anything else that was thrown */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pt_tensor pt_tensor;         /* one tensor */
typedef struct pt_list pt_list;             /* several tensors, in order */
typedef struct pt_generator pt_generator;   /* a random generator with its state */

/* ---- runtime: versions, errors, threads, memory, devices ---- */
/* PT_ABI_VERSION this library was built with. */
PT_API int32_t pt_abi_version(int32_t* version);
/* libtorch's version at build time, as major * 10000 + minor * 100 + patch. */
PT_API int32_t pt_libtorch_version(int32_t* version);
/* Path of the libtorch library in use, UTF-8; length is what the whole text needs. */
PT_API int32_t pt_libtorch_path(uint8_t* text, int64_t text_count, int64_t* length);
/* libtorch's own description of its build. */
PT_API int32_t pt_show_config(uint8_t* text, int64_t text_count, int64_t* length);
/* This thread's last error message, UTF-8; length is what the whole text needs. */
PT_API int32_t pt_last_error(uint8_t* text, int64_t text_count, int64_t* length);
/* Throws one of the kinds of exception (0 c10, 1 bad_alloc, 2 out_of_range, 3 an int): the guard's own test. */
PT_API int32_t pt_throw_for_test(int32_t kind);
/* Number of tensor handles given out and not yet freed. */
PT_API int32_t pt_live_tensor_count(int64_t* count);
/* Keeps freed memory in the process: large activations are not handed back to the kernel every step. */
PT_API int32_t pt_tune_allocator(void);
/* Gives freed memory back to the kernel. */
PT_API int32_t pt_trim_allocator(void);
/* Threads of libtorch's and the BLAS's loops. */
PT_API int32_t pt_set_num_threads(int32_t count);
/* Threads of libtorch's loops. */
PT_API int32_t pt_get_num_threads(int32_t* count);
/* Refuses operations without a deterministic implementation. */
PT_API int32_t pt_use_deterministic_algorithms(int32_t on);
/* Whether operations without a deterministic implementation are refused. */
PT_API int32_t pt_are_deterministic_algorithms_enabled(int32_t* on);
/* Lets float32 matrix products use oneDNN, or the BLAS only. */
PT_API int32_t pt_set_mkldnn_enabled(int32_t on);
/* Whether oneDNN may be used. */
PT_API int32_t pt_get_mkldnn_enabled(int32_t* on);
/* Whether float32 matrix products on CUDA may use TF32. */
PT_API int32_t pt_set_allow_tf32(int32_t on);
/* Whether a CUDA device can be used. */
PT_API int32_t pt_cuda_is_available(int32_t* available);
/* Number of CUDA devices. */
PT_API int32_t pt_cuda_device_count(int32_t* count);
/* Waits until a CUDA device has finished its work. */
PT_API int32_t pt_cuda_synchronize(int32_t device_index);

/* ---- tensor_handle: handles, properties, bytes in and out ---- */
/* Frees a tensor handle. */
PT_API int32_t pt_tensor_free(pt_tensor* handle);
/* Number of dimensions. */
PT_API int32_t pt_tensor_dim(pt_tensor* self, int64_t* dim);
/* Writes the sizes; sizes_count must be the number of dimensions. */
PT_API int32_t pt_tensor_shape(pt_tensor* self, int64_t* sizes, int32_t sizes_count);
/* Writes the strides; strides_count must be the number of dimensions. */
PT_API int32_t pt_tensor_strides(pt_tensor* self, int64_t* strides, int32_t strides_count);
/* Number of elements. */
PT_API int32_t pt_tensor_numel(pt_tensor* self, int64_t* count);
/* Element type. */
PT_API int32_t pt_tensor_dtype(pt_tensor* self, int32_t* dtype);
/* Device kind and index (-1 where it has none). */
PT_API int32_t pt_tensor_device(pt_tensor* self, int32_t* device_type, int32_t* device_index);
/* Whether the elements lie in row-major order without gaps. */
PT_API int32_t pt_tensor_is_contiguous(pt_tensor* self, int32_t* value);
/* Address of the first element; for tests of sharing. */
PT_API int32_t pt_tensor_address(pt_tensor* self, int64_t* address);
/* Copies the elements out in row-major order; bytes_count must be exactly their size. */
PT_API int32_t pt_tensor_read(pt_tensor* self, uint8_t* bytes, int64_t bytes_count);
/* Overwrites the elements in row-major order; bytes_count must be exactly their size. */
PT_API int32_t pt_tensor_write(pt_tensor* self, const uint8_t* bytes, int64_t bytes_count);
/* The only element, as a double. */
PT_API int32_t pt_tensor_item_double(pt_tensor* self, double* value);
/* The only element, as an integer. */
PT_API int32_t pt_tensor_item_int64(pt_tensor* self, int64_t* value);
/* Makes self hold another tensor's data (other dtype, device or size), keeping its identity for autograd. */
PT_API int32_t pt_tensor_set_data(pt_tensor* self, pt_tensor* data);

/* ---- tensor_list: lists of tensors ---- */
/* A new empty list. */
PT_API int32_t pt_list_new(pt_list** result);
/* Frees a list; its tensors live on where others hold them. */
PT_API int32_t pt_list_free(pt_list* handle);
/* Appends a tensor. */
PT_API int32_t pt_list_add(pt_list* self, pt_tensor* item);
/* Number of tensors. */
PT_API int32_t pt_list_count(pt_list* self, int64_t* count);
/* The tensor at an index (null where it is undefined). */
PT_API int32_t pt_list_get(pt_list* self, int64_t index, pt_tensor** result);

/* ---- tensor_create: new tensors ---- */
/* Uninitialised elements. */
PT_API int32_t pt_empty(const int64_t* shape, int32_t shape_count, int32_t dtype, int32_t device_type,
    int32_t device_index, pt_tensor** result);
/* Zeros. */
PT_API int32_t pt_zeros(const int64_t* shape, int32_t shape_count, int32_t dtype, int32_t device_type,
    int32_t device_index, pt_tensor** result);
/* Ones. */
PT_API int32_t pt_ones(const int64_t* shape, int32_t shape_count, int32_t dtype, int32_t device_type,
    int32_t device_index, pt_tensor** result);
/* One value everywhere. */
PT_API int32_t pt_full(const int64_t* shape, int32_t shape_count, double value, int32_t dtype, int32_t device_type,
    int32_t device_index, pt_tensor** result);
/* start, start + step, ... below stop. */
PT_API int32_t pt_arange(double start, double stop, double step, int32_t dtype, int32_t device_type,
    int32_t device_index, pt_tensor** result);
/* count values from start to stop inclusive. */
PT_API int32_t pt_linspace(double start, double stop, int64_t count, int32_t dtype, int32_t device_type,
    int32_t device_index, pt_tensor** result);
/* The identity matrix [rows, columns]. */
PT_API int32_t pt_eye(int64_t rows, int64_t columns, int32_t dtype, int32_t device_type, int32_t device_index,
    pt_tensor** result);
/* A copy of bytes in row-major order. */
PT_API int32_t pt_from_bytes(const uint8_t* bytes, int64_t bytes_count, const int64_t* shape, int32_t shape_count,
    int32_t dtype, int32_t device_type, int32_t device_index, pt_tensor** result);
/* Zeros like another tensor (dtype negative = the same). */
PT_API int32_t pt_zeros_like(pt_tensor* self, int32_t dtype, pt_tensor** result);
/* Ones like another tensor. */
PT_API int32_t pt_ones_like(pt_tensor* self, int32_t dtype, pt_tensor** result);
/* Uninitialised like another tensor. */
PT_API int32_t pt_empty_like(pt_tensor* self, int32_t dtype, pt_tensor** result);
/* One value everywhere, like another tensor. */
PT_API int32_t pt_full_like(pt_tensor* self, double value, int32_t dtype, pt_tensor** result);
/* Elements of a file, mapped copy-on-write and shared per file while in use; copied where the offset is not aligned. */
PT_API int32_t pt_from_file(const char* path, int64_t offset, const int64_t* shape, int32_t shape_count,
    int32_t dtype, pt_tensor** result);
/* Number of files that are mapped now. */
PT_API int32_t pt_mapped_file_count(int64_t* count);

/* ---- nn_functional: functions of layers ---- */
/* x wT + bias. */
PT_API int32_t pt_linear(pt_tensor* x, pt_tensor* weight, pt_tensor* bias, pt_tensor** result);
/* Rows of weight by id. */
PT_API int32_t pt_embedding(pt_tensor* weight, pt_tensor* ids, pt_tensor** result);
/* Inverted dropout with an own generator; p = 0 gives the input. */
PT_API int32_t pt_dropout(pt_tensor* x, double p, pt_generator* random, pt_tensor** result);
/* exp(x) / sum exp(x) along dim (dtype negative = the same). */
PT_API int32_t pt_softmax(pt_tensor* x, int64_t dim, int32_t dtype, pt_tensor** result);
/* log softmax along dim. */
PT_API int32_t pt_log_softmax(pt_tensor* x, int64_t dim, int32_t dtype, pt_tensor** result);
/* Normalises over the last shape_count dimensions; weight and bias may be null. */
PT_API int32_t pt_layer_norm(pt_tensor* x, const int64_t* shape, int32_t shape_count, pt_tensor* weight,
    pt_tensor* bias, double eps, pt_tensor** result);
/* Cross-entropy of logits against class ids; reduction 0 none, 1 mean, 2 sum. */
PT_API int32_t pt_cross_entropy(pt_tensor* logits, pt_tensor* target, int64_t ignore_index, int32_t reduction,
    double label_smoothing, pt_tensor** result);
/* Negative log likelihood of log-probabilities. */
PT_API int32_t pt_nll_loss(pt_tensor* log_probabilities, pt_tensor* target, int64_t ignore_index, int32_t reduction,
    pt_tensor** result);
/* Mean, sum or none of squared differences. */
PT_API int32_t pt_mse_loss(pt_tensor* input, pt_tensor* target, int32_t reduction, pt_tensor** result);
/* Gauss error linear unit; tanh approximation where asked. */
PT_API int32_t pt_gelu(pt_tensor* x, int32_t tanh, pt_tensor** result);
/* x * sigmoid(x). */
PT_API int32_t pt_silu(pt_tensor* x, pt_tensor** result);
/* log(1 + exp(beta x)) / beta. */
PT_API int32_t pt_softplus(pt_tensor* x, double beta, double threshold, pt_tensor** result);
/* log sigmoid(x). */
PT_API int32_t pt_log_sigmoid(pt_tensor* x, pt_tensor** result);

/* ---- autograd: gradients ---- */
/* Whether operations are recorded for gradients (this thread). */
PT_API int32_t pt_get_grad_enabled(int32_t* on);
/* Records operations for gradients, or not (this thread). */
PT_API int32_t pt_set_grad_enabled(int32_t on);
/* Whether gradients flow to the tensor. */
PT_API int32_t pt_tensor_requires_grad(pt_tensor* self, int32_t* value);
/* Asks for gradients of a leaf. */
PT_API int32_t pt_tensor_set_requires_grad(pt_tensor* self, int32_t on);
/* Whether the tensor was made by the user, not by a recorded operation. */
PT_API int32_t pt_tensor_is_leaf(pt_tensor* self, int32_t* value);
/* The gradient; null where there is none. */
PT_API int32_t pt_tensor_grad(pt_tensor* self, pt_tensor** result);
/* Replaces the gradient; null removes it. */
PT_API int32_t pt_tensor_set_grad(pt_tensor* self, pt_tensor* grad);
/* Keeps the gradient of a tensor that is no leaf. */
PT_API int32_t pt_tensor_retain_grad(pt_tensor* self);
/* Accumulates gradients into the leaves; gradient may be null for a scalar. */
PT_API int32_t pt_backward(pt_tensor* self, pt_tensor* gradient, int32_t retain_graph, int32_t create_graph);
/* Accumulates gradients into the leaves from several tensors at once, each with its own gradient. */
PT_API int32_t pt_backward_list(pt_list* items, pt_list* gradients, int32_t retain_graph, int32_t create_graph);
/* Gradients of outputs with respect to inputs; undefined where unused and allowed. */
PT_API int32_t pt_grad(pt_list* outputs, pt_list* inputs, pt_list* grad_outputs, int32_t retain_graph,
    int32_t create_graph, int32_t allow_unused, pt_list** result);
/* Removes the gradients of all tensors of the list. */
PT_API int32_t pt_zero_grad(pt_list* items);

/* ---- random: generators and random numbers ---- */
/* A generator of a device with a seed. */
PT_API int32_t pt_generator_new(int64_t seed, int32_t device_type, int32_t device_index, pt_generator** result);
/* Frees a generator. */
PT_API int32_t pt_generator_free(pt_generator* handle);
/* Starts the sequence of a seed again. */
PT_API int32_t pt_generator_seed(pt_generator* self, int64_t seed);
/* Size of the state in bytes. */
PT_API int32_t pt_generator_state_size(pt_generator* self, int64_t* size);
/* Copies the whole state out. */
PT_API int32_t pt_generator_get_state(pt_generator* self, uint8_t* state, int64_t state_count);
/* Puts a state back; the sequence goes on where it was read. */
PT_API int32_t pt_generator_set_state(pt_generator* self, const uint8_t* state, int64_t state_count);
/* Seeds libtorch's default generators. */
PT_API int32_t pt_manual_seed(int64_t seed);
/* Uniform in [0, 1). */
PT_API int32_t pt_rand(const int64_t* shape, int32_t shape_count, pt_generator* random, int32_t dtype,
    int32_t device_type, int32_t device_index, pt_tensor** result);
/* Standard normal. */
PT_API int32_t pt_randn(const int64_t* shape, int32_t shape_count, pt_generator* random, int32_t dtype,
    int32_t device_type, int32_t device_index, pt_tensor** result);
/* Whole numbers in [low, high). */
PT_API int32_t pt_randint(int64_t low, int64_t high, const int64_t* shape, int32_t shape_count, pt_generator* random,
    int32_t dtype, int32_t device_type, int32_t device_index, pt_tensor** result);
/* 0..count-1 in random order. */
PT_API int32_t pt_randperm(int64_t count, pt_generator* random, int32_t dtype, int32_t device_type,
    int32_t device_index, pt_tensor** result);
/* In place: uniform in [low, high). */
PT_API int32_t pt_uniform_(pt_tensor* self, double low, double high, pt_generator* random);
/* In place: normal. */
PT_API int32_t pt_normal_(pt_tensor* self, double mean, double std, pt_generator* random);
/* In place: 1 with probability p, else 0. */
PT_API int32_t pt_bernoulli_(pt_tensor* self, double p, pt_generator* random);
/* In place: exponential with a rate. */
PT_API int32_t pt_exponential_(pt_tensor* self, double rate, pt_generator* random);
/* 1 with the probability that the element gives. */
PT_API int32_t pt_bernoulli(pt_tensor* probabilities, pt_generator* random, pt_tensor** result);
/* count indices drawn by weight along the last dimension. */
PT_API int32_t pt_multinomial(pt_tensor* weights, int64_t count, int32_t replacement, pt_generator* random,
    pt_tensor** result);

/* ---- optim: optimizer steps over lists of parameters ---- */
/* AdamW over a list; steps[i] is raised where parameter i has a gradient, the others are left alone. */
PT_API int32_t pt_adamw_step(pt_list* parameters, pt_list* exp_avgs, pt_list* exp_avg_sqs, int64_t* steps,
    int32_t steps_count, double lr, double beta1, double beta2, double eps, double weight_decay);
/* SGD over a list; steps[i] is raised where parameter i has a gradient; momentum_buffers may be null without
   momentum. */
PT_API int32_t pt_sgd_step(pt_list* parameters, pt_list* momentum_buffers, int64_t* steps, int32_t steps_count,
    double lr, double momentum, double dampening, double weight_decay, int32_t nesterov);
/* One norm over all gradients; scales them down to max_norm where it is larger; reads the device once. */
PT_API int32_t pt_clip_grad_norm(pt_list* parameters, double max_norm, double norm_type, double* norm);
/* One norm over all tensors of the list (2-norm), undefined ones left out. */
PT_API int32_t pt_total_norm(pt_list* items, double norm_type, double* norm);

#include "peft_torch_ops.h"
#include "peft_torch_fused.h"

#ifdef __cplusplus
}
#endif

#endif
