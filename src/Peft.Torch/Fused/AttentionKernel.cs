using System.Numerics;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

/// <summary>Attention in blocks of queries: the probabilities [B, H, T, S] never exist whole, masked keys are not
/// computed, and backward computes each block's probabilities again from the scores and one number a row.</summary>
/// <typeparam name="T">What the products take: float, double, or ushort holding bfloat16.</typeparam>
/// <typeparam name="W">What scores and sums are in: float, or double for double.</typeparam>
internal sealed unsafe class AttentionKernel<T, W>
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    // What is not worth another thread: some 20 microseconds, of multiply-adds and of products, each a call.
    private const long SmallWork = 1 << 20, Call = 1 << 15;

    private readonly AttentionOptions _options;
    private readonly AttentionBlocks _blocks;
    private readonly Heads<T> _q, _k, _v;
    private readonly W* _mask;
    private readonly long[] _maskSteps = [];
    private readonly long _batch, _heads, _keyHeads, _groups, _queries, _keys, _headSize, _valueSize;
    private readonly W _scale, _cap;
    private readonly AttentionInColumns<T>? _columns;

    // What the pointers lie in must outlive the kernel; the mask is one of AttentionFunction.WholeMask.
    public AttentionKernel(
        Heads<T> q, Heads<T> k, Heads<T> v, AttentionShape shape, Tensor? mask, AttentionOptions options)
    {
        (_q, _k, _v) = (q, k, v);
        (_batch, _heads, _keyHeads, _queries, _keys, _headSize, _valueSize) = shape;
        _groups = _heads / _keyHeads;
        _options = options;
        (_scale, _cap) = (W.CreateTruncating(options.Scale), W.CreateTruncating(options.Softcap));
        _blocks = new AttentionBlocks(_batch, _queries, _keys, options);
        if (AttentionInColumns<T>.Serves(shape, _blocks, mask))
            _columns = new(q, k, v, shape, options, _blocks);
        if (mask is null)
            return;
        _mask = TensorMemory.Of<W>(mask);
        _maskSteps = mask.stride();
    }

    // Tensors as AttentionFunction prepares them.
    public AttentionKernel(Tensor q, Tensor k, Tensor v, Tensor? mask, AttentionOptions options)
        : this(new(q), new(k), new(v), AttentionShape.Of(q, k, v), mask, options)
    {
    }

    /// <summary>Writes the mixed values and log(sum(exp)) of each row.</summary>
    public void Forward(Tensor mixed, Tensor lse) => Forward(new Heads<T>(mixed), TensorMemory.Of<W>(lse));

    /// <summary>The same into memory.</summary>
    public void Forward(Heads<T> target, W* sums)
    {
        var work = _heads * ((_blocks.Count * Call) + (_batch * _queries * _keys * (_headSize + _valueSize)));
        if (_columns is not null)
            _columns.Forward(target, (float*)sums, alone: work < SmallWork);
        else
            ForwardRows(target, sums, alone: work < SmallWork);
    }

    private void ForwardRows(Heads<T> target, W* sums, bool alone) => Threads.Share(_heads * _blocks.Count, tasks =>
    {
        using var work = new AttentionScratch<T, W>(
            RowMath<W>.Stride(_blocks.Widest), _keys, (_headSize, _valueSize), 1);
        while (tasks.Next(out var task))
        {
            var block = _blocks[(int)(task % _blocks.Count)];
            ForwardBlock(block, task / _blocks.Count, work, target, sums);
        }
    }, alone);

    private void ForwardBlock(AttentionBlock block, long h, AttentionScratch<T, W> work, Heads<T> target, W* sums)
    {
        var (b, start, count, low, n) = (block.Row, block.Start, block.Count, block.Low, block.High - block.Low);
        var (step, kv) = (RowMath<W>.Stride(n), h / _groups);
        var lses = sums + (b * _heads + h) * _queries;
        T* q = _q.Row(b, h, start), k = _k.Row(b, kv, low), v = _v.Row(b, kv, low);
        var isFew = typeof(W) == typeof(float) && FewRows<T, T>.Mixes(count, _valueSize);
        if (isFew)
            FewRows<T, T>.Dots(
                count, n, _headSize, float.CreateTruncating(_scale), q, _q.Step, k, _k.Step, (float*)work.Scores, step);
        else
            Dots(count, n, _headSize, _scale, q, _q.Step, k, _k.Step, work.Scores, step);
        for (var i = start; i < start + count; i++)
        {
            var (first, last) = (block.First(_options, i), block.Last(_options, i));
            var row = work.Scores + (i - start) * step;
            var p = work.P + (i - start) * step;
            lses[i] = AttentionRows<T, W>.Softmax(
                row + (first - low), p + (first - low), MaskRow(b, h, i, first), last - first, _cap);
            ClearOutside(p, low, first, last, block.High);
        }
        if (n == 0)
        {
            Clear(target, block, h, _valueSize);
            return;
        }
        if (isFew)
            FewRows<T, T>.Mix(count, _valueSize, n, work.P, step, v, _v.Step, (float*)work.Sums, _valueSize);
        else
            Multiply(false, count, _valueSize, n, work.P, step, v, _v.Step, W.Zero, work.Sums);
        Store(work.Sums, count, _valueSize, target.Row(b, h, start), target.Step);
    }

    /// <summary>Writes the gradients of q, k and v from that of the mixed values.</summary>
    public void Backward(Tensor gradient, Tensor lse, Tensor dq, Tensor dk, Tensor dv)
    {
        var outer = new Heads<T>(gradient);
        var (queries, keys, values) = (new Heads<T>(dq), new Heads<T>(dk), new Heads<T>(dv));
        var sums = TensorMemory.Of<W>(lse);
        if (_columns is not null)
        {
            _columns.Backward(outer, (float*)sums, queries, keys, values);
            return;
        }
        // One task owns one key head, so that no two add to the same dk and dv.
        Threads.Share(_batch * _keyHeads, tasks =>
        {
            using var work = new AttentionScratch<T, W>(
                RowMath<W>.Stride(_blocks.Widest), _keys, (_headSize, _valueSize), 2);
            while (tasks.Next(out var task))
            {
                var (b, kv) = (task / _keyHeads, task % _keyHeads);
                work.ClearKeys();
                for (var h = kv * _groups; h < (kv + 1) * _groups; h++)
                {
                    var (begin, end) = _blocks.OfRow(b);
                    for (var i = begin; i < end; i++)
                        BackwardBlock(_blocks[i], h, work, outer, queries, sums);
                }
                Store(work.Keys, _keys, _headSize, keys.Row(b, kv, 0), keys.Step);
                Store(work.Values, _keys, _valueSize, values.Row(b, kv, 0), values.Step);
            }
        });
    }

    private void BackwardBlock(
        AttentionBlock block, long h, AttentionScratch<T, W> work, Heads<T> outer, Heads<T> dq, W* sums)
    {
        var (b, start, count, low, n) = (block.Row, block.Start, block.Count, block.Low, block.High - block.Low);
        if (n == 0)
        {
            Clear(dq, block, h, _headSize);
            return;
        }
        var (step, kv) = (RowMath<W>.Stride(n), h / _groups);
        T* q = _q.Row(b, h, start), k = _k.Row(b, kv, low), v = _v.Row(b, kv, low), d = outer.Row(b, h, start);
        Dots(count, n, _headSize, _scale, q, _q.Step, k, _k.Step, work.Scores, step);
        Dots(count, n, _valueSize, W.One, d, outer.Step, v, _v.Step, work.Gradients, step);
        ScoresBack(block, h, work, step, sums + (b * _heads + h) * _queries);
        Multiply(false, count, _headSize, n, work.Ds, step, k, _k.Step, W.Zero, work.Sums);
        Store(work.Sums, count, _headSize, dq.Row(b, h, start), dq.Step);
        Multiply(true, n, _headSize, count, work.Ds, step, q, _q.Step, W.One, work.Keys + low * _headSize);
        Multiply(true, n, _valueSize, count, work.P, step, d, outer.Step, W.One, work.Values + low * _valueSize);
    }

    // Scores [m, n]: alpha times rows of a with rows of b.
    private static void Dots(
        long m, long n, long k, W alpha, T* a, long aStep, T* b, long bStep, W* scores, long step) =>
        Gemm.Multiply(false, true, m, n, k, alpha, a, aStep, b, bStep, W.Zero, scores, step);

    // target [m, n] = op(a) b + beta * itself.
    private static void Multiply(
        bool transposed, long m, long n, long k, T* a, long aStep, T* b, long bStep, W beta, W* target) =>
        Gemm.Multiply(transposed, false, m, n, k, W.One, a, aStep, b, bStep, beta, target, n);

    private void ScoresBack(AttentionBlock block, long h, AttentionScratch<T, W> work, long step, W* lses)
    {
        for (var i = block.Start; i < block.Start + block.Count; i++)
        {
            var (first, last, at) = (block.First(_options, i), block.Last(_options, i), (i - block.Start) * step);
            var skip = at + first - block.Low;
            AttentionRows<T, W>.SoftmaxBack(work.Scores + skip, work.Gradients + skip, work.P + skip, work.Ds + skip,
                MaskRow(block.Row, h, i, first), lses[i], last - first, _cap, _scale);
            ClearOutside(work.P + at, block.Low, first, last, block.High);
            ClearOutside(work.Ds + at, block.Low, first, last, block.High);
        }
    }

    private W* MaskRow(long b, long h, long i, long key) =>
        _mask == null ? null : _mask + b * _maskSteps[0] + h * _maskSteps[1] + i * _maskSteps[2] + key;

    // What the queries of a block that see no key get.
    private static void Clear(Heads<T> rows, AttentionBlock block, long h, long width)
    {
        for (var i = block.Start; i < block.Start + block.Count; i++)
            new Span<T>(rows.Row(block.Row, h, i), (int)width).Clear();
    }

    // Clears a row of block columns [low, high) outside what its query sees.
    private static void ClearOutside(T* row, long low, long first, long last, long high)
    {
        new Span<T>(row, (int)(first - low)).Clear();
        new Span<T>(row + (last - low), (int)(high - last)).Clear();
    }

    private static void Store(W* source, long count, long width, T* target, long step)
    {
        for (long i = 0; i < count; i++)
            VectorMath.Store(source + i * width, width, target + i * step);
    }
}

/// <summary>What one thread works in; P and Ds are Scores and Gradients themselves where the products take what sums
/// are in.</summary>
internal sealed unsafe class AttentionScratch<T, W> : IDisposable
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    private const long BlockRows = AttentionBlocks.BlockRows;
    private readonly Scratch<W> _wide;
    private readonly Scratch<T> _narrow;
    private readonly long _keySums;

    /// <summary>Room for one pass, or two for backward.</summary>
    public AttentionScratch(long step, long keys, (long Head, long Value) sizes, int passes)
    {
        var (block, width) = (BlockRows * step, Math.Max(sizes.Head, sizes.Value));
        _keySums = passes == 2 ? keys * width : 0;
        _wide = new Scratch<W>(passes * block + BlockRows * width + 2 * _keySums);
        _narrow = new Scratch<T>(sizeof(T) == sizeof(W) ? 0 : passes * block);
        Scores = _wide.Pointer;
        Gradients = Scores + (passes - 1) * block;
        Sums = Scores + passes * block;
        Keys = Sums + BlockRows * width;
        Values = Keys + _keySums;
        P = sizeof(T) == sizeof(W) ? (T*)Scores : _narrow.Pointer;
        Ds = sizeof(T) == sizeof(W) ? (T*)Gradients : P + (passes - 1) * block;
    }

    public W* Scores { get; }

    public W* Gradients { get; }

    public W* Sums { get; }

    public W* Keys { get; }

    public W* Values { get; }

    public T* P { get; }

    public T* Ds { get; }

    public void ClearKeys() => new Span<W>(Keys, checked((int)(2 * _keySums))).Clear();

    public void Dispose()
    {
        _wide.Dispose();
        _narrow.Dispose();
    }
}

/// <summary>One row of scores at a time: W is float or double, T what the products take (W itself, or ushort for
/// bfloat16).</summary>
/// <remarks>Rows lie as <see cref="RowMath{W}"/> wants them.</remarks>
internal static unsafe class AttentionRows<T, W>
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    private static readonly int Lanes = RowMath<W>.Lanes;

    /// <summary>Scores of n visible keys become probabilities in p; returns log(sum(exp)). A row that sees nothing
    /// becomes zeros.</summary>
    public static W Softmax(W* row, T* p, W* mask, long n, W cap)
    {
        if (cap > W.Zero)
            RowMath<W>.Cap(row, n, cap);
        if (mask != null)
            Add(row, mask, n);
        var tops = Vector512.Create(W.NegativeInfinity);
        for (long j = 0; j < n; j += Lanes)
            tops = Vector512.Max(tops, RowMath<W>.Load(row, j, n, W.NegativeInfinity));
        var top = RowMath<W>.Largest(tops);
        if (top == W.NegativeInfinity)
        {
            new Span<T>(p, (int)n).Clear();
            return W.PositiveInfinity;
        }
        var (shift, sums) = (Vector512.Create(top), Vector512<W>.Zero);
        for (long j = 0; j < n; j += Lanes)
        {
            var e = VectorMath.Exp(RowMath<W>.Load(row, j, n, W.NegativeInfinity) - shift);
            sums += e;
            e.Store(row + j);
        }
        var sum = Vector512.Sum(sums);
        var inverse = Vector512.Create(W.One / sum);
        for (long j = 0; j < n; j += Lanes)
            VectorMath.Store(Vector512.Load(row + j) * inverse, p + j);
        return top + W.Log(sum);
    }

    /// <summary>Scores become probabilities again in p, and dp (the probabilities' gradient) the raw scores' gradient
    /// in ds.</summary>
    public static void SoftmaxBack(W* row, W* dp, T* p, T* ds, W* mask, W lse, long n, W cap, W scale)
    {
        if (cap > W.Zero)
        {
            SoftmaxBackCapped(row, dp, p, ds, mask, lse, n, cap, scale);
            return;
        }
        if (mask != null)
            Add(row, mask, n);
        var (shift, sums) = (Vector512.Create(lse), Vector512<W>.Zero);
        for (long j = 0; j < n; j += Lanes)
        {
            var e = VectorMath.Exp(RowMath<W>.Load(row, j, n, W.NegativeInfinity) - shift);
            sums += e * RowMath<W>.Load(dp, j, n, W.Zero);
            e.Store(row + j);
        }
        var (mean, factor) = (Vector512.Create(Vector512.Sum(sums)), Vector512.Create(scale));
        for (long j = 0; j < n; j += Lanes)
        {
            var e = Vector512.Load(row + j);
            var gradient = e * (RowMath<W>.Load(dp, j, n, W.Zero) - mean) * factor;
            VectorMath.Store(e, p + j);
            VectorMath.Store(gradient, ds + j);
        }
    }

    // As above, where each score became cap * tanh(score / cap).
    private static void SoftmaxBackCapped(W* row, W* dp, T* p, T* ds, W* mask, W lse, long n, W cap, W scale)
    {
        RowMath<W>.Cap(row, n, cap);
        var (shift, square, sums) = (Vector512.Create(lse), Vector512.Create(W.One / (cap * cap)), Vector512<W>.Zero);
        for (long j = 0; j < n; j += Lanes)
            sums += Probability(row, mask, j, n, shift) * RowMath<W>.Load(dp, j, n, W.Zero);
        var (mean, factor) = (Vector512.Create(Vector512.Sum(sums)), Vector512.Create(scale));
        for (long j = 0; j < n; j += Lanes)
        {
            var (e, capped) = (Probability(row, mask, j, n, shift), RowMath<W>.Load(row, j, n, W.Zero));
            var gradient =
                e * (RowMath<W>.Load(dp, j, n, W.Zero) - mean) * factor * (Vector512<W>.One - capped * capped * square);
            VectorMath.Store(e, p + j);
            VectorMath.Store(gradient, ds + j);
        }
    }

    private static Vector512<W> Probability(W* row, W* mask, long j, long n, Vector512<W> shift)
    {
        var score = RowMath<W>.Load(row, j, n, W.NegativeInfinity);
        if (mask != null)
            score += LoadOf(mask, j, n);
        return VectorMath.Exp(score - shift);
    }

    private static void Add(W* row, W* mask, long n)
    {
        for (long j = 0; j < n; j += Lanes)
            (RowMath<W>.Load(row, j, n, W.Zero) + LoadOf(mask, j, n)).Store(row + j);
    }

    // The same of memory that ends at n.
    private static Vector512<W> LoadOf(W* memory, long j, long n)
    {
        if (n - j >= Lanes)
            return Vector512.Load(memory + j);
        var rest = stackalloc W[Lanes];
        for (var i = 0; i < Lanes; i++)
            rest[i] = i < n - j ? memory[j + i] : W.Zero;
        return Vector512.Load(rest);
    }
}
