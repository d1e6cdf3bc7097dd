/* Causal attention in blocks of queries: the probabilities [B, H, T, S] never exist whole, masked keys are not computed, and
   backward computes each block's probabilities again from the scores and one number a row. Where sequences share a row, blocks
   end at their borders, so that nothing is computed between two of them. */
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "fused.h"
#include "fused_gemm.h"
#include "fused_simd.h"

namespace peft {
namespace fused {

namespace {

template <class T>
PEFT_INLINE void cap_scores(T* row, int64_t n, T cap) {
    const T inverse = T(1) / cap;
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) row[j] = cap * tanh_of(row[j] * inverse);
}

/* Scores of n visible keys become probabilities; returns log(sum(exp)). A row that sees nothing becomes zeros. */
template <class T>
PEFT_INLINE T softmax_of(T* row, const T* mask, int64_t n, T cap) {
    if (cap > T(0)) cap_scores(row, n, cap);
    if (mask != nullptr) {
#pragma omp simd
        for (int64_t j = 0; j < n; ++j) row[j] += mask[j];
    }
    T top = -std::numeric_limits<T>::infinity(), sum = T(0);
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < n; ++j) top = row[j] > top ? row[j] : top;
    if (top == -std::numeric_limits<T>::infinity()) {
        for (int64_t j = 0; j < n; ++j) row[j] = T(0);
        return std::numeric_limits<T>::infinity();
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; ++j) {
        const T e = exp_of(row[j] - top);
        row[j] = e;
        sum += e;
    }
    const T inverse = T(1) / sum;
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) row[j] *= inverse;
    return top + std::log(sum);
}

/* Scores become probabilities again, and dp (the probabilities' gradient) becomes the raw scores' gradient. */
template <class T>
PEFT_INLINE void softmax_back_of(T* row, T* dp, const T* mask, T lse, int64_t n, T cap, T scale) {
    T sum = T(0);
    if (cap > T(0)) {
        const T square = T(1) / (cap * cap);
        cap_scores(row, n, cap);
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < n; ++j) sum += exp_of((mask != nullptr ? row[j] + mask[j] : row[j]) - lse) * dp[j];
#pragma omp simd
        for (int64_t j = 0; j < n; ++j) {
            const T p = exp_of((mask != nullptr ? row[j] + mask[j] : row[j]) - lse);
            dp[j] = p * (dp[j] - sum) * scale * (T(1) - row[j] * row[j] * square);
            row[j] = p;
        }
        return;
    }
    if (mask != nullptr) {
#pragma omp simd
        for (int64_t j = 0; j < n; ++j) row[j] += mask[j];
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; ++j) {
        const T p = exp_of(row[j] - lse);
        row[j] = p;
        sum += p * dp[j];
    }
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) dp[j] = row[j] * (dp[j] - sum) * scale;
}

#define PEFT_SOFTMAX_ROWS(T)                                                                                          \
    PEFT_CLONES T softmax_row(T* row, const T* mask, int64_t n, T cap) { return softmax_of(row, mask, n, cap); }      \
    PEFT_CLONES void softmax_back_row(T* row, T* dp, const T* mask, T lse, int64_t n, T cap, T scale) {               \
        softmax_back_of(row, dp, mask, lse, n, cap, scale);                                                           \
    }
PEFT_SOFTMAX_ROWS(float)
PEFT_SOFTMAX_ROWS(double)
#undef PEFT_SOFTMAX_ROWS

/* Queries a block: small enough that keys above the diagonal are mostly skipped, large enough for the BLAS. */
constexpr int64_t BlockRows = 64;

struct Sizes {
    int64_t batch, heads, groups, queries, keys, head_size;   /* groups = query heads for each key head */
    explicit Sizes(const Tensor& q, const Tensor& k)
        : batch(q.size(0)), heads(q.size(1)), groups(q.size(1) / std::max<int64_t>(1, k.size(1))), queries(q.size(2)), keys(k.size(2)),
          head_size(q.size(3)) {}
};

/* Queries [start, start + count) of one row of the batch, and the keys [low, high) that they may see at all. */
struct Block {
    int64_t row, start, count, low, high;
};

/* All blocks, and where each row's begin: row b has blocks[begin[b]] to blocks[begin[b + 1] - 1]. */
struct Blocks {
    std::vector<Block> all;
    std::vector<int64_t> begin;
    int64_t widest = 0;   /* keys of the widest block */

    Blocks(const Sizes& s, const AttentionOptions& options) {
        const auto& segments = options.segments;
        size_t next = 0;
        for (int64_t row = 0; row < s.batch; ++row) {
            begin.push_back(size());
            if (segments.empty()) add(row, 0, s.queries, 0, s.keys);
            for (; next < segments.size() && segments[next] < (row + 1) * s.queries; next += 2) {
                const int64_t first = segments[next] - row * s.queries, end = segments[next + 1] - row * s.queries;
                add(row, first, end, first, end);
            }
        }
        begin.push_back(size());
    }

    int64_t size() const { return static_cast<int64_t>(all.size()); }

private:
    void add(int64_t row, int64_t first, int64_t end, int64_t low, int64_t high) {
        for (int64_t start = first; start < end; start += BlockRows)
            all.push_back({row, start, std::min(BlockRows, end - start), low, high});
        widest = std::max(widest, high - low);
    }
};

/* The keys that query i of a block sees: [first, last). */
struct Seen {
    const AttentionOptions& options;
    const Block& block;
    int64_t first(int64_t i) const {
        const int64_t at = options.offset + i;
        return options.window > 0 ? std::min(block.high, std::max(block.low, at - options.window + 1)) : block.low;
    }
    int64_t last(int64_t i) const {
        return options.causal ? std::max(block.low, std::min(block.high, options.offset + i + 1)) : block.high;
    }
};

template <class T>
struct Head {   /* one head of a [B, H, T, d] tensor whose last dimension is dense */
    T* data;
    int64_t step;
    Head(const Tensor& t, int64_t b, int64_t h)
        : data(t.data_ptr<typename std::remove_const<T>::type>() + b * t.stride(0) + h * t.stride(1)), step(t.stride(2)) {}
    T* row(int64_t i) const { return data + i * step; }
};

template <class T>
const T* mask_row(const Tensor& mask, int64_t b, int64_t h, int64_t i, int64_t key) {
    return mask.defined() ? mask.data_ptr<T>() + b * mask.stride(0) + h * mask.stride(1) + i * mask.stride(2) + key : nullptr;
}

/* Clears a row of block columns [low, high) outside what its query sees. */
template <class T>
void clear_outside(T* row, int64_t low, int64_t first, int64_t last, int64_t high) {
    for (int64_t j = low; j < first; ++j) row[j - low] = T(0);
    for (int64_t j = std::max(first, last); j < high; ++j) row[j - low] = T(0);
}

template <class T>
void forward_all(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const AttentionOptions& options, Tensor& out,
                 Tensor& lse) {
    const Sizes s(q, k);
    const Blocks blocks(s, options);
    const T scale = static_cast<T>(options.scale), cap = static_cast<T>(options.softcap);
    at::parallel_for(0, s.heads * blocks.size(), 1, [&](int64_t begin, int64_t end) {
        std::vector<T> scores(BlockRows * blocks.widest);
        for (int64_t task = begin; task < end; ++task) {
            const Block& block = blocks.all[task % blocks.size()];
            const Seen seen{options, block};
            const int64_t h = task / blocks.size(), b = block.row, start = block.start, count = block.count;
            const int64_t low = seen.first(start), high = std::max(low, seen.last(start + count - 1)), n = high - low;
            const Head<const T> qh(q, b, h), kh(k, b, h / s.groups), vh(v, b, h / s.groups);
            const Head<T> oh(out, b, h);
            T* lses = lse.data_ptr<T>() + (b * s.heads + h) * s.queries;
            gemm<T>(count, n, s.head_size, scale, rows(qh.row(start), qh.step), columns(kh.row(low), kh.step), T(0), scores.data(), n);
            for (int64_t i = start; i < start + count; ++i) {
                T* row = scores.data() + (i - start) * n;
                const int64_t first = seen.first(i), last = std::max(first, seen.last(i));
                lses[i] = softmax_row(row + (first - low), mask_row<T>(mask, b, h, i, first), last - first, cap);
                clear_outside(row, low, first, last, high);
            }
            if (n > 0) gemm<T>(count, v.size(3), n, T(1), rows<T>(scores.data(), n), rows(vh.row(low), vh.step), T(0), oh.row(start), oh.step);
            else for (int64_t i = start; i < start + count; ++i) std::memset(oh.row(i), 0, sizeof(T) * static_cast<size_t>(v.size(3)));
        }
    });
}

template <class T>
void backward_all(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                  const AttentionOptions& options, const Tensor& lse, Tensor& dq, Tensor& dk, Tensor& dv) {
    const Sizes s(q, k);
    const Blocks blocks(s, options);
    const int64_t key_heads = k.size(1), value_size = v.size(3);
    const T scale = static_cast<T>(options.scale), cap = static_cast<T>(options.softcap);
    /* One task owns one key head, so that no two tasks add to the same dk and dv. */
    at::parallel_for(0, s.batch * key_heads, 1, [&](int64_t begin, int64_t end) {
        std::vector<T> scores(BlockRows * blocks.widest), gradients(BlockRows * blocks.widest);
        for (int64_t task = begin; task < end; ++task) {
            const int64_t b = task / key_heads, kv = task % key_heads;
            const Head<const T> kh(k, b, kv), vh(v, b, kv);
            const Head<T> dkh(dk, b, kv), dvh(dv, b, kv);
            for (int64_t h = kv * s.groups; h < (kv + 1) * s.groups; ++h) {
                const Head<const T> qh(q, b, h), doh(dout, b, h);
                const Head<T> dqh(dq, b, h);
                const T* lses = lse.data_ptr<T>() + (b * s.heads + h) * s.queries;
                for (int64_t at = blocks.begin[b]; at < blocks.begin[b + 1]; ++at) {
                    const Block& block = blocks.all[at];
                    const Seen seen{options, block};
                    const int64_t start = block.start, count = block.count;
                    const int64_t low = seen.first(start), high = std::max(low, seen.last(start + count - 1)), n = high - low;
                    if (n == 0) continue;
                    T *p = scores.data(), *dp = gradients.data();
                    gemm<T>(count, n, s.head_size, scale, rows(qh.row(start), qh.step), columns(kh.row(low), kh.step), T(0), p, n);
                    gemm<T>(count, n, value_size, T(1), rows(doh.row(start), doh.step), columns(vh.row(low), vh.step), T(0), dp, n);
                    for (int64_t i = start; i < start + count; ++i) {
                        T *row = p + (i - start) * n, *drow = dp + (i - start) * n;
                        const int64_t first = seen.first(i), last = std::max(first, seen.last(i)), skip = first - low;
                        softmax_back_row(row + skip, drow + skip, mask_row<T>(mask, b, h, i, first), lses[i], last - first, cap, scale);
                        clear_outside(row, low, first, last, high);
                        clear_outside(drow, low, first, last, high);
                    }
                    gemm<T>(count, s.head_size, n, T(1), rows<T>(dp, n), rows(kh.row(low), kh.step), T(0), dqh.row(start), dqh.step);
                    gemm<T>(n, s.head_size, count, T(1), columns<T>(dp, n), rows(qh.row(start), qh.step), T(1), dkh.row(low), dkh.step);
                    gemm<T>(n, value_size, count, T(1), columns<T>(p, n), rows(doh.row(start), doh.step), T(1), dvh.row(low), dvh.step);
                }
            }
        }
    });
}

/* [B, H, T, d] stored as [B, T, H, d]: the heads join to [B, T, H * d] without a copy. */
Tensor heads_beside(at::IntArrayRef sizes, const at::TensorOptions& options, bool zero) {
    const int64_t h = sizes[1], t = sizes[2], d = sizes[3];
    Tensor result = at::empty_strided(sizes, {t * h * d, d, h * d, 1}, options);
    return zero ? result.zero_() : result;
}

Tensor dense_rows(const Tensor& t, at::ScalarType type) {
    const Tensor wide = t.to(type);
    /* A step of 0 or less than a row (expanded tensors) is no matrix to the BLAS. */
    return wide.stride(3) == 1 && wide.stride(2) >= wide.size(3) ? wide : wide.contiguous();
}

struct Attention : public Function<Attention> {
    static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v, const Optional& mask_given, double scale,
                          bool causal, int64_t offset, int64_t window, double softcap, const std::vector<int64_t>& segments) {
        const Tensor mask = tensor_of(mask_given);
        const AttentionOptions options{scale, causal, offset, window, softcap, segments};
        const at::ScalarType type = q.scalar_type(), wide = type == at::kDouble ? at::kDouble : at::kFloat;
        const Tensor qw = dense_rows(q, wide), kw = dense_rows(k, wide), vw = dense_rows(v, wide);
        /* Tokens outside all segments are in no block: they must be zeros then. */
        Tensor out = heads_beside({q.size(0), q.size(1), q.size(2), v.size(3)}, qw.options(), !segments.empty());
        Tensor lse = at::empty({q.size(0), q.size(1), q.size(2)}, qw.options());
        if (wide == at::kDouble) forward_all<double>(qw, kw, vw, mask, options, out, lse);
        else forward_all<float>(qw, kw, vw, mask, options, out, lse);
        if (ctx != nullptr) {
            ctx->save_for_backward({q, k, v, mask, lse});
            ctx->saved_data["scale"] = scale;
            ctx->saved_data["causal"] = causal;
            ctx->saved_data["offset"] = offset;
            ctx->saved_data["window"] = window;
            ctx->saved_data["softcap"] = softcap;
            ctx->saved_data["segments"] = segments;
        }
        return out.to(type);
    }

    static variable_list backward(AutogradContext* ctx, variable_list gradients) {
        refuse_double_backward("causal_attention");
        variable_list result(10);
        if (!gradients[0].defined()) return result;
        const auto saved = ctx->get_saved_variables();
        const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &mask = saved[3], &lse = saved[4];
        const AttentionOptions options{ctx->saved_data["scale"].toDouble(), ctx->saved_data["causal"].toBool(),
                                       ctx->saved_data["offset"].toInt(), ctx->saved_data["window"].toInt(),
                                       ctx->saved_data["softcap"].toDouble(), ctx->saved_data["segments"].toIntVector()};
        const at::ScalarType wide = lse.scalar_type();
        const Tensor qw = dense_rows(q, wide), kw = dense_rows(k, wide), vw = dense_rows(v, wide), dow = dense_rows(gradients[0], wide);
        /* A block of queries that sees no key leaves its rows of dq alone: they must be zeros then. */
        Tensor dq = heads_beside(q.sizes(), qw.options(), true), dk = heads_beside(k.sizes(), qw.options(), true),
               dv = heads_beside(v.sizes(), qw.options(), true);
        if (wide == at::kDouble) backward_all<double>(dow, qw, kw, vw, mask, options, lse, dq, dk, dv);
        else backward_all<float>(dow, qw, kw, vw, mask, options, lse, dq, dk, dv);
        result[0] = dq.to(q.scalar_type());
        result[1] = dk.to(k.scalar_type());
        result[2] = dv.to(v.scalar_type());
        return result;
    }
};

/* Which pairs of tokens of a row [B, 1, T, T] are not of one segment. */
Tensor across_segments(const Sizes& s, const std::vector<int64_t>& segments, const at::Device& device) {
    std::vector<int64_t> of(static_cast<size_t>(s.batch * s.queries), -1);
    for (size_t i = 0; i < segments.size(); i += 2)
        std::fill(of.begin() + segments[i], of.begin() + segments[i + 1], static_cast<int64_t>(i));
    const Tensor ids = at::from_blob(of.data(), {s.batch, 1, s.queries}, at::TensorOptions().dtype(at::kLong)).to(device, at::kLong, false, true);
    return ids.unsqueeze(3).ne(ids.unsqueeze(2)).logical_or_(ids.lt(0).unsqueeze(3));
}

/* The same in at:: operations with libtorch's own gradients. Query heads join their key head: [B, Hkv, g * T, d] x [B, Hkv, S, d]. */
Tensor composed(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const AttentionOptions& options) {
    const Sizes s(q, k);
    const int64_t key_heads = k.size(1);
    const at::ScalarType wide = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const Tensor grouped = q.reshape({s.batch, key_heads, s.groups * s.queries, s.head_size});
    Tensor scores = at::matmul(grouped, k.transpose(2, 3)).to(wide).mul(options.scale);
    if (options.softcap > 0) scores = scores.div(options.softcap).tanh().mul(options.softcap);
    scores = scores.view({s.batch, s.heads, s.queries, s.keys});
    if (mask.defined()) scores = scores.add(mask);
    Tensor hidden;
    if (options.causal || options.window > 0) {
        const auto index = at::TensorOptions().dtype(at::kLong).device(q.device());
        const Tensor key = at::arange(s.keys, index).unsqueeze(0), place = at::arange(s.queries, index).add_(options.offset).unsqueeze(1);
        hidden = at::zeros({s.queries, s.keys}, index.dtype(at::kBool));
        if (options.causal) hidden.logical_or_(key.gt(place));
        if (options.window > 0) hidden.logical_or_(key.le(place - options.window));
        scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
    }
    if (!options.segments.empty())
        scores = scores.masked_fill(across_segments(s, options.segments, q.device()), -std::numeric_limits<double>::infinity());
    /* A row that sees no key has no softmax (0 / 0): zeros, as the loops give. */
    const Tensor blind = scores.eq(-std::numeric_limits<double>::infinity()).all(3, true);
    const Tensor p = at::softmax(scores.masked_fill(blind, 0), 3).masked_fill(blind, 0).to(v.scalar_type());
    return at::matmul(p.view({s.batch, key_heads, s.groups * s.queries, s.keys}), v).view({s.batch, s.heads, s.queries, v.size(3)});
}

void check_segments(const Sizes& s, const AttentionOptions& options) {
    const auto& segments = options.segments;
    TORCH_CHECK(segments.empty() || (s.queries == s.keys && options.offset == 0), "segments need one key for each query, found ", s.queries,
                " queries from key ", options.offset, " and ", s.keys, " keys");
    TORCH_CHECK(segments.size() % 2 == 0, "segments are pairs of first token and end; found ", segments.size(), " numbers");
    int64_t before = 0;
    for (size_t i = 0; i < segments.size(); i += 2) {
        const int64_t first = segments[i], end = segments[i + 1];
        TORCH_CHECK(before <= first && first < end && end <= s.batch * s.queries && first / s.queries == (end - 1) / s.queries,
                    "segment [", first, ", ", end, ") is not within one row of ", s.batch, " rows of ", s.queries,
                    " tokens, or comes before the end of the last one (", before, ")");
        before = end;
    }
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const AttentionOptions& options) {
    TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && v.dim() == 4 && q.size(0) == k.size(0) && k.size(0) == v.size(0) &&
                q.size(3) == k.size(3) && k.size(1) == v.size(1) && k.size(2) == v.size(2) && k.size(1) > 0 && q.size(1) % k.size(1) == 0,
                "q ", q.sizes(), ", k ", k.sizes(), " and v ", v.sizes(),
                " do not meet; q is [B, H, T, d], k and v are [B, Hkv, S, d] with H a multiple of Hkv");
    TORCH_CHECK(q.scalar_type() == k.scalar_type() && k.scalar_type() == v.scalar_type(), "q ", q.scalar_type(), ", k ",
                k.scalar_type(), " and v ", v.scalar_type(), " differ in type");
    TORCH_CHECK(options.window >= 0 && options.offset >= 0 && options.softcap >= 0, "window ", options.window, ", offset ",
                options.offset, " and softcap ", options.softcap, " must not be negative");
    check_segments(Sizes(q, k), options);
    const at::ScalarType wide = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    Tensor added;
    if (mask.defined()) {
        TORCH_CHECK(!mask.requires_grad(), "the additive mask requires a gradient, which is not computed; detach it");
        added = mask.to(wide).expand({q.size(0), q.size(1), q.size(2), k.size(2)});
        if (runs_loops(q) && added.stride(3) != 1) added = mask.to(wide).expand({mask.dim() > 3 ? mask.size(0) : 1,
            mask.dim() > 2 ? mask.size(mask.dim() - 3) : 1, mask.dim() > 1 ? mask.size(mask.dim() - 2) : 1, k.size(2)}).contiguous()
            .expand(added.sizes());
    }
    if (!runs_loops(q) || q.numel() == 0 || k.numel() == 0) return composed(q, k, v, added, options);
    return run<Attention>(q, k, v, optional(added), options.scale, options.causal, options.offset, options.window, options.softcap,
                          options.segments);
}

}  // namespace fused
}  // namespace peft
