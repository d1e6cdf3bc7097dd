/* The fused operations' part of the C ABI; included by peft_torch.h inside extern "C". */
#ifndef PEFT_TORCH_FUSED_H
#define PEFT_TORCH_FUSED_H

/* ---- fused: operations with gradients of their own, which keep less and pass over memory less often ---- */
/* x Wt + bias + scale * ((lora_input At) o gates) Bt; bias, gates and lora_input may be null. */
PT_API int32_t pt_lora_mixture_linear(pt_tensor* x, pt_tensor* weight, pt_tensor* bias, pt_tensor* a, pt_tensor* b,
    pt_tensor* gates, pt_tensor* lora_input, double scale, pt_tensor** result);
/* Loss of each row of hidden against its target, the head's product in chunks of rows; chunk_rows 0 = chosen here;
   softcap 0 = none. */
PT_API int32_t pt_linear_cross_entropy(pt_tensor* hidden, pt_tensor* weight, pt_tensor* targets, int64_t chunk_rows,
    double softcap, pt_tensor** result);
/* weight * (x / rms(x)), statistics in float32. */
PT_API int32_t pt_rms_norm(pt_tensor* x, pt_tensor* weight, double eps, pt_tensor** result);
/* silu(gate) * up. */
PT_API int32_t pt_swiglu(pt_tensor* gate, pt_tensor* up, pt_tensor** result);
/* Rotates the halves of each head of x [B, T, H, d] by cos and sin [B or 1, T, d or less]. */
PT_API int32_t pt_rotary(pt_tensor* x, pt_tensor* cos, pt_tensor* sin, pt_tensor** result);
/* softmax(scale * q kt + mask) v, softmax in float32; mask may be null; offset: key position of the first query;
   window 0 = all keys; softcap 0 = none; segments: sequences that share rows, as pairs of first token and end in the
   flattened B * T tokens; a query sees its own sequence alone. No segments: each row is one sequence. */
PT_API int32_t pt_causal_attention(pt_tensor* q, pt_tensor* k, pt_tensor* v, pt_tensor* mask, double scale,
    int32_t causal, int64_t offset, int64_t window, double softcap, const int64_t* segments, int32_t segments_count,
    pt_tensor** result);
/* 0: the fused operations run composed of libtorch's, as on devices other than the CPU. For tests and benchmarks. */
PT_API int32_t pt_fused_set_loops(int32_t enabled);

#endif
