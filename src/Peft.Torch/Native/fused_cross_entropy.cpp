/* The head and its cross-entropy in blocks of rows and of the vocabulary: the logits [M, V] never exist whole. Blocks of the
   vocabulary keep the products large (blocks of rows alone would pack the whole weight again and again) and let a bf16 weight
   be widened a block at a time; the running maximum and sum are carried from block to block, as in flash attention. */
#include <ATen/Parallel.h>

#include "fused.h"
#include "fused_gemm.h"
#include "fused_simd.h"

namespace peft {
namespace fused {

namespace {

template <class T>
PEFT_INLINE void cap_logits(T* row, int64_t n, T cap) {
    const T inverse = T(1) / cap;
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) row[j] = cap * tanh_of(row[j] * inverse);
}

/* Takes one block of a row in: top and sum become those of all blocks so far; returns by how much earlier sums shrank.
   Where a gradient is wanted, the block becomes e^(logit - top), times the softcap's slope. */
template <class T>
PEFT_INLINE T take_in(T* row, int64_t n, T cap, bool gradient, T& top, T& sum) {
    T most = top;
#pragma omp simd reduction(max : most)
    for (int64_t j = 0; j < n; ++j) most = row[j] > most ? row[j] : most;
    const T shrink = exp_of(top - most);
    T part = T(0);
    if (!gradient) {
#pragma omp simd reduction(+ : part)
        for (int64_t j = 0; j < n; ++j) part += exp_of(row[j] - most);
    } else if (cap > T(0)) {
        const T square = T(1) / (cap * cap);
#pragma omp simd reduction(+ : part)
        for (int64_t j = 0; j < n; ++j) {
            const T e = exp_of(row[j] - most);
            part += e;
            row[j] = e * (T(1) - row[j] * row[j] * square);
        }
    } else {
#pragma omp simd reduction(+ : part)
        for (int64_t j = 0; j < n; ++j) {
            const T e = exp_of(row[j] - most);
            part += e;
            row[j] = e;
        }
    }
    top = most;
    sum = sum * shrink + part;
    return shrink;
}

/* A block of logits becomes g * softmax (times the softcap's slope). */
template <class T>
PEFT_INLINE void to_gradient(T* row, int64_t n, T cap, T lse, T g) {
    const T square = cap > T(0) ? T(1) / (cap * cap) : T(0);
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) row[j] = g * exp_of(row[j] - lse) * (T(1) - row[j] * row[j] * square);
}

#define PEFT_LOSS_ROWS(T)                                                                                    \
    PEFT_CLONES void cap_row(T* row, int64_t n, T cap) { cap_logits(row, n, cap); }                          \
    PEFT_CLONES T take_in_row(T* row, int64_t n, T cap, bool gradient, T& top, T& sum) {                     \
        return take_in(row, n, cap, gradient, top, sum);                                                     \
    }                                                                                                        \
    PEFT_CLONES void gradient_row(T* row, int64_t n, T cap, T lse, T g) { to_gradient(row, n, cap, lse, g); }
PEFT_LOSS_ROWS(float)
PEFT_LOSS_ROWS(double)
#undef PEFT_LOSS_ROWS

/* What is known of a chunk of rows after some blocks of the vocabulary: all [rows]. */
struct Running {
    Tensor top, sum, at_target, shrink;
    Running(int64_t rows, const at::TensorOptions& options)
        : top(at::full({rows}, -std::numeric_limits<double>::infinity(), options)), sum(at::zeros({rows}, options)),
          at_target(at::zeros({rows}, options)), shrink(at::zeros({rows}, options)) {}
    Tensor lse() const { return top + sum.log(); }
};

template <class T>
void take_in_rows(Tensor& logits, const Tensor& targets, int64_t start, double cap, bool gradient, Running& r) {
    const int64_t n = logits.size(1);
    T *data = logits.data_ptr<T>(), *top = r.top.data_ptr<T>(), *sum = r.sum.data_ptr<T>(), *at_target = r.at_target.data_ptr<T>(),
      *shrink = r.shrink.data_ptr<T>();
    const int64_t* target = targets.data_ptr<int64_t>();
    at::parallel_for(0, logits.size(0), 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            T* row = data + i * n;
            if (cap > 0) cap_row(row, n, static_cast<T>(cap));
            if (target[i] >= start && target[i] < start + n) at_target[i] = row[target[i] - start];
            shrink[i] = take_in_row(row, n, static_cast<T>(cap), gradient, top[i], sum[i]);
        }
    });
}

void take_in_block(Tensor& logits, const Tensor& targets, int64_t start, double cap, bool gradient, Running& r) {
    if (runs_loops(logits)) {
        if (logits.scalar_type() == at::kDouble) take_in_rows<double>(logits, targets, start, cap, gradient, r);
        else take_in_rows<float>(logits, targets, start, cap, gradient, r);
        return;
    }
    const int64_t n = logits.size(1);
    if (cap > 0) logits.div_(cap).tanh_().mul_(cap);
    const Tensor local = targets.sub(start), inside = local.ge(0).logical_and_(local.lt(n));
    r.at_target = at::where(inside, logits.gather(1, local.clamp(0, n - 1).unsqueeze(1)).squeeze(1), r.at_target);
    const Tensor most = at::maximum(r.top, logits.amax(1)), slope = gradient && cap > 0 ? logits.div(cap).square_().neg_().add_(1) : Tensor();
    r.shrink = r.top.sub(most).exp_();
    logits.sub_(most.unsqueeze(1)).exp_();
    r.sum = r.sum.mul(r.shrink).add_(logits.sum(1));
    r.top = most;
    if (slope.defined()) logits.mul_(slope);
}

template <class T>
void gradient_rows(Tensor& logits, const Tensor& targets, int64_t start, double cap, const Tensor& lse, const Tensor& g) {
    const int64_t n = logits.size(1);
    T* data = logits.data_ptr<T>();
    const T *lses = lse.data_ptr<T>(), *gs = g.data_ptr<T>();
    const int64_t* target = targets.data_ptr<int64_t>();
    at::parallel_for(0, logits.size(0), 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            T* row = data + i * n;
            const int64_t local = target[i] - start;
            T slope = T(1);
            if (cap > 0) {
                cap_row(row, n, static_cast<T>(cap));
                if (local >= 0 && local < n) slope -= row[local] * row[local] / static_cast<T>(cap * cap);
            }
            gradient_row(row, n, static_cast<T>(cap), lses[i], gs[i]);
            if (local >= 0 && local < n) row[local] -= gs[i] * slope;
        }
    });
}

/* A block of logits becomes the losses' gradient by it; g are the gradients of the losses. */
void gradient_block(Tensor& logits, const Tensor& targets, int64_t start, double cap, const Tensor& lse, const Tensor& g) {
    if (runs_loops(logits)) {
        if (logits.scalar_type() == at::kDouble) gradient_rows<double>(logits, targets, start, cap, lse, g);
        else gradient_rows<float>(logits, targets, start, cap, lse, g);
        return;
    }
    const int64_t n = logits.size(1);
    if (cap > 0) logits.div_(cap).tanh_().mul_(cap);
    const Tensor slope = cap > 0 ? logits.div(cap).square_().neg_().add_(1) : Tensor();
    logits.sub_(lse.unsqueeze(1)).exp_();
    const Tensor local = targets.sub(start), inside = local.ge(0).logical_and_(local.lt(n));
    logits.scatter_add_(1, local.clamp(0, n - 1).unsqueeze(1), inside.to(logits.scalar_type()).neg_().unsqueeze(1));
    if (slope.defined()) logits.mul_(slope);
    logits.mul_(g.unsqueeze(1));
}

/* float32 logits for reduced types (float64 stays): the sums over V need them, and the row loops take no other. */
at::ScalarType loss_type(const Tensor& hidden) { return hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

/* Words a block: the logits of one block of rows by one of the vocabulary take 32 MiB at most; all blocks about equal. */
int64_t words_a_block(int64_t rows, int64_t vocabulary) {
    const int64_t limit = std::max<int64_t>(1024, (int64_t(8) << 20) / std::max<int64_t>(1, rows));
    const int64_t blocks = std::max<int64_t>(1, (vocabulary + limit - 1) / limit);
    return (vocabulary + blocks - 1) / blocks;
}

constexpr int64_t AutomaticRows = 1024;

/* target += a b, where the product may be in a narrower type. */
void accumulate(Tensor& target, const Tensor& a, const Tensor& b) {
    if (target.scalar_type() == a.scalar_type()) add_product(target, a, b, 1.0);
    else target.add_(product(a, b));
}

struct LinearCrossEntropy : public Function<LinearCrossEntropy> {
    static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                          int64_t chunk, double cap, bool grad_enabled) {
        const at::ScalarType compute = compute_type(hidden), wide = loss_type(hidden);
        const int64_t rows = hidden.size(0), vocabulary = weight.size(0), words = words_a_block(std::min(rows, chunk), vocabulary);
        const bool needs_weight = grad_enabled && weight.requires_grad();
        /* Without a weight gradient each row's gradient is its loss's gradient times a row known now: no second head product. */
        const bool now = grad_enabled && hidden.requires_grad() && !needs_weight;
        const at::TensorOptions options = hidden.options().dtype(wide);
        Tensor losses = at::empty({rows}, options), lses = needs_weight ? at::empty({rows}, options) : Tensor();
        Tensor slope = now ? at::empty_like(hidden, at::MemoryFormat::Contiguous) : Tensor();
        for (int64_t start = 0; start < rows; start += chunk) {
            const int64_t count = std::min(chunk, rows - start);
            const Tensor part = hidden.narrow(0, start, count).to(compute), target = targets.narrow(0, start, count);
            Running running(count, options);
            Tensor sum = now ? at::zeros({count, hidden.size(1)}, options) : Tensor();
            for (int64_t word = 0; word < vocabulary; word += words) {
                const Tensor w = weight.narrow(0, word, std::min(words, vocabulary - word)).to(compute);
                Tensor logits = product(part, w.t()).to(wide);
                take_in_block(logits, target, word, cap, now, running);
                if (!now) continue;
                if (word > 0) sum.mul_(running.shrink.unsqueeze(1));
                accumulate(sum, logits.to(compute), w);
            }
            const Tensor lse = running.lse();
            losses.narrow(0, start, count).copy_(lse - running.at_target);
            if (needs_weight) lses.narrow(0, start, count).copy_(lse);
            if (!now) continue;
            Tensor aim = weight.index_select(0, target).to(wide);
            if (cap > 0) aim.mul_(running.at_target.div(cap).square_().neg_().add_(1).unsqueeze(1));
            slope.narrow(0, start, count).copy_(sum.div_(running.sum.unsqueeze(1)).sub_(aim));
        }
        ctx->saved_data["now"] = now;
        ctx->saved_data["needs_hidden"] = hidden.requires_grad();
        ctx->saved_data["chunk"] = chunk;
        ctx->saved_data["cap"] = cap;
        if (now) ctx->save_for_backward({slope});
        else if (needs_weight) ctx->save_for_backward({hidden, weight, targets, lses});
        return losses;
    }

    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        refuse_double_backward("linear_cross_entropy");
        variable_list result(6);
        if (!gradients[0].defined()) return result;
        const auto saved = ctx->get_saved_variables();
        if (ctx->saved_data["now"].toBool()) {
            const Tensor& slope = saved[0];
            result[0] = slope.mul(gradients[0].unsqueeze(1).to(slope.scalar_type()));
            return result;
        }
        const Tensor &hidden = saved[0], &weight = saved[1], &targets = saved[2], &lses = saved[3];
        const Tensor g = gradients[0].contiguous();
        const bool needs_hidden = ctx->saved_data["needs_hidden"].toBool();
        const int64_t chunk = ctx->saved_data["chunk"].toInt(), rows = hidden.size(0), vocabulary = weight.size(0);
        const int64_t words = words_a_block(std::min(rows, chunk), vocabulary);
        const at::ScalarType compute = compute_type(hidden), wide = loss_type(hidden);
        const at::TensorOptions options = hidden.options().dtype(wide);
        Tensor dhidden = needs_hidden ? at::zeros(hidden.sizes(), options) : Tensor();
        Tensor dweight = at::empty(weight.sizes(), weight.options());
        for (int64_t word = 0; word < vocabulary; word += words) {
            const int64_t width = std::min(words, vocabulary - word);
            const Tensor w = weight.narrow(0, word, width).to(compute);
            Tensor dw = at::zeros({width, weight.size(1)}, options);
            for (int64_t start = 0; start < rows; start += chunk) {
                const int64_t count = std::min(chunk, rows - start);
                const Tensor part = hidden.narrow(0, start, count).to(compute);
                Tensor logits = product(part, w.t()).to(wide);
                gradient_block(logits, targets.narrow(0, start, count), word, ctx->saved_data["cap"].toDouble(),
                               lses.narrow(0, start, count), g.narrow(0, start, count));
                const Tensor dlogits = logits.to(compute);
                accumulate(dw, dlogits.t(), part);
                if (!needs_hidden) continue;
                Tensor dpart = dhidden.narrow(0, start, count);
                accumulate(dpart, dlogits, w);
            }
            dweight.narrow(0, word, width).copy_(dw);
        }
        if (needs_hidden) result[0] = dhidden.to(hidden.scalar_type());
        result[1] = dweight;
        return result;
    }
};

}  // namespace

Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets, int64_t chunk_rows, double softcap) {
    TORCH_CHECK(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1), "hidden ", hidden.sizes(),
                " does not meet weight ", weight.sizes(), "; hidden is [M, D] and weight [V, D]");
    TORCH_CHECK(targets.dim() == 1 && targets.size(0) == hidden.size(0) && targets.scalar_type() == at::kLong, "targets ",
                targets.sizes(), " ", targets.scalar_type(), " do not meet hidden ", hidden.sizes(), "; targets are [M] of int64");
    TORCH_CHECK(chunk_rows >= 0 && softcap >= 0, "chunk_rows ", chunk_rows, " and softcap ", softcap, " must not be negative");
    if (targets.numel() > 0) {
        /* One pass over M numbers; a target outside would read outside the chunk's memory. */
        const int64_t least = targets.min().item<int64_t>(), most = targets.max().item<int64_t>();
        TORCH_CHECK(least >= 0 && most < weight.size(0), "targets hold ", least < 0 ? least : most, "; allowed are 0 to ",
                    weight.size(0) - 1, "; leave out positions that are not learned before calling");
    }
    return LinearCrossEntropy::apply(hidden, weight, targets.contiguous(), chunk_rows > 0 ? chunk_rows : AutomaticRows, softcap,
                                     at::GradMode::is_enabled());
}

}  // namespace fused
}  // namespace peft
