using System.Numerics;

namespace Peft.Torch;

/// <summary>One head at a time of a [B, H, T, d] tensor whose last dimension is dense.</summary>
internal readonly unsafe struct Heads<T>(Tensor tensor)
    where T : unmanaged
{
    private readonly T* _data = TensorMemory.Of<T>(tensor);
    private readonly long _batchStep = tensor.stride(0), _headStep = tensor.stride(1);

    /// <summary>Elements from one token to the next.</summary>
    public readonly long Step = tensor.stride(2);

    public T* Row(long b, long h, long token) => _data + b * _batchStep + h * _headStep + token * Step;
}

/// <summary>Attention in blocks of queries: the probabilities [B, H, T, S] never exist whole, masked keys are not computed, and backward
/// computes each block's probabilities again from the scores and one number a row.</summary>
/// <typeparam name="T">What the products take: float, double, or ushort holding bfloat16.</typeparam>
/// <typeparam name="W">What scores and sums are in: float, or double for double.</typeparam>
internal sealed unsafe class AttentionKernel<T, W>
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    // Multiply-adds that take some 20 microseconds: a step of decoding.
    private const long SmallWork = 1 << 20;

    private readonly AttentionOptions _options;
    private readonly AttentionBlocks _blocks;
    private readonly Heads<T> _q, _k, _v;
    private readonly W* _mask;
    private readonly long[] _maskSteps = [];
    private readonly long _batch, _heads, _keyHeads, _groups, _queries, _keys, _headSize, _valueSize;
    private readonly W _scale, _cap;

    // Tensors as AttentionFunction prepares them; they must outlive the kernel.
    public AttentionKernel(Tensor q, Tensor k, Tensor v, Tensor? mask, AttentionOptions options)
    {
        (_q, _k, _v) = (new Heads<T>(q), new Heads<T>(k), new Heads<T>(v));
        (_batch, _heads, _queries, _headSize) = (q.size(0), q.size(1), q.size(2), q.size(3));
        (_keyHeads, _keys, _valueSize) = (k.size(1), k.size(2), v.size(3));
        _groups = _heads / _keyHeads;
        _options = options;
        (_scale, _cap) = (W.CreateTruncating(options.Scale), W.CreateTruncating(options.Softcap));
        _blocks = new AttentionBlocks(_batch, _queries, _keys, options);
        if (mask is null)
            return;
        _mask = TensorMemory.Of<W>(mask);
        _maskSteps = mask.stride();
    }

    /// <summary>Writes the mixed values and log(sum(exp)) of each row.</summary>
    public void Forward(Tensor mixed, Tensor lse)
    {
        var target = new Heads<T>(mixed);
        var sums = TensorMemory.Of<W>(lse);
        Threads.Share(_heads * _blocks.Count, tasks =>
        {
            using var work = new AttentionScratch<T, W>(_blocks.Widest, RowMath<W>.Stride(_blocks.Widest), _keys, _valueSize, 1);
            while (tasks.Next(out var task))
            {
                var block = _blocks[(int)(task % _blocks.Count)];
                ForwardBlock(block, task / _blocks.Count, work, target, sums);
            }
        }, alone: _batch * _heads * _queries * _keys * (_headSize + _valueSize) < SmallWork);
    }

    private void ForwardBlock(AttentionBlock block, long h, AttentionScratch<T, W> work, Heads<T> target, W* sums)
    {
        var (b, start, count, low, n) = (block.Row, block.Start, block.Count, block.Low, block.High - block.Low);
        var (step, kv) = (RowMath<W>.Stride(n), h / _groups);
        var lses = sums + (b * _heads + h) * _queries;
        Gemm.Multiply(false, true, count, n, _headSize, _scale,
            _q.Row(b, h, start), _q.Step, _k.Row(b, kv, low), _k.Step, W.Zero, work.Scores, step);
        for (var i = start; i < start + count; i++)
        {
            var (first, last) = (block.First(_options, i), block.Last(_options, i));
            var row = work.Scores + (i - start) * step;
            var p = work.P + (i - start) * step;
            lses[i] = AttentionRows<T, W>.Softmax(row + (first - low), p + (first - low), MaskRow(b, h, i, first), last - first, _cap);
            ClearOutside(p, low, first, last, block.High);
        }
        Gemm.Multiply(false, false, count, _valueSize, n, W.One, work.P, step, _v.Row(b, kv, low), _v.Step, W.Zero, work.Sums, _valueSize);
        Store(work.Sums, n == 0 ? 0 : count, _valueSize, target.Row(b, h, start), target.Step);
        for (var i = 0; n == 0 && i < count; i++)
            new Span<T>(target.Row(b, h, start + i), (int)_valueSize).Clear();
    }

    /// <summary>Writes the gradients of q, k and v from that of the mixed values.</summary>
    public void Backward(Tensor gradient, Tensor lse, Tensor dq, Tensor dk, Tensor dv)
    {
        var outer = new Heads<T>(gradient);
        var (queries, keys, values) = (new Heads<T>(dq), new Heads<T>(dk), new Heads<T>(dv));
        var sums = TensorMemory.Of<W>(lse);
        // One task owns one key head, so that no two add to the same dk and dv.
        Threads.Share(_batch * _keyHeads, tasks =>
        {
            using var work = new AttentionScratch<T, W>(
                _blocks.Widest, RowMath<W>.Stride(_blocks.Widest), _keys, Math.Max(_headSize, _valueSize), 2);
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

    private void BackwardBlock(AttentionBlock block, long h, AttentionScratch<T, W> work, Heads<T> outer, Heads<T> dq, W* sums)
    {
        var (b, start, count, low, n) = (block.Row, block.Start, block.Count, block.Low, block.High - block.Low);
        if (n == 0)
            return;
        var (step, kv) = (RowMath<W>.Stride(n), h / _groups);
        T* q = _q.Row(b, h, start), k = _k.Row(b, kv, low), v = _v.Row(b, kv, low), d = outer.Row(b, h, start);
        Gemm.Multiply(false, true, count, n, _headSize, _scale, q, _q.Step, k, _k.Step, W.Zero, work.Scores, step);
        Gemm.Multiply(false, true, count, n, _valueSize, W.One, d, outer.Step, v, _v.Step, W.Zero, work.Gradients, step);
        ScoresBack(block, h, work, step, sums + (b * _heads + h) * _queries);
        Gemm.Multiply(false, false, count, _headSize, n, W.One, work.Ds, step, k, _k.Step, W.Zero, work.Sums, _headSize);
        Store(work.Sums, count, _headSize, dq.Row(b, h, start), dq.Step);
        Gemm.Multiply(true, false, n, _headSize, count, W.One, work.Ds, step, q, _q.Step,
            W.One, work.Keys + low * _headSize, _headSize);
        Gemm.Multiply(true, false, n, _valueSize, count, W.One, work.P, step, d, outer.Step,
            W.One, work.Values + low * _valueSize, _valueSize);
    }

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

/// <summary>What one thread works in; P and Ds are Scores and Gradients themselves where the products take what sums are in.</summary>
internal sealed unsafe class AttentionScratch<T, W> : IDisposable
    where T : unmanaged
    where W : unmanaged
{
    private const long BlockRows = 64;
    private readonly Scratch<W> _wide;
    private readonly Scratch<T> _narrow;
    private readonly long _keySums;

    public AttentionScratch(long widest, long step, long keys, long width, int passes)
    {
        var block = BlockRows * step;
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
