using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

/// <summary>Attention whose products are our own: the queries of a block lie side by side in vectors, scores [keys,
/// queries]. So keys and values are read where they lie, a softmax adds up its vectors without looking across them, and
/// of the block on the diagonal little more than half is computed.</summary>
/// <typeparam name="T">What queries, keys and values are: float, or ushort holding bfloat16; computed in
/// float32.</typeparam>
internal sealed unsafe class AttentionInColumns<T>(
    Heads<T> q, Heads<T> k, Heads<T> v, AttentionShape shape, AttentionOptions options, AttentionBlocks blocks)
    where T : unmanaged
{
    private const long Lanes = BlockProducts.Lanes, Six = BlockProducts.Six, Columns = AttentionBlocks.BlockRows;

    // Of bfloat16: with more of them MKL's products, twice as fast as those of float32, make up for copying factors.
    private const long MostKeys = 448;

    private readonly long _headSize = shape.HeadSize, _valueSize = shape.ValueSize;
    private readonly long _groups = shape.Heads / shape.KeyHeads;
    private readonly float _scale = (float)options.Scale, _cap = (float)options.Softcap;

    /// <summary>Whether heads are whole vectors, queries so many that they fill some, and a general product is not
    /// faster.</summary>
    public static bool Serves(AttentionShape shape, AttentionBlocks blocks, Tensor? mask) =>
        typeof(T) != typeof(double) && Vector512.IsHardwareAccelerated && mask is null && shape.HeadSize % Lanes == 0
        && shape.ValueSize % Lanes == 0 && !FewRows<T, T>.Mixes(shape.Queries, shape.ValueSize)
        && (typeof(T) == typeof(float) || blocks.Widest <= MostKeys);

    /// <summary>Writes the mixed values and log(sum(exp)) of each row.</summary>
    public void Forward(Heads<T> target, float* sums, bool alone) => Threads.Share(shape.Heads * blocks.Count, tasks =>
    {
        using var work = new Work(shape, blocks.Widest, q, k, v, null);
        while (tasks.Next(out var task))
        {
            var (block, h) = (blocks[(int)(task % blocks.Count)], task / blocks.Count);
            Forward(block, h, work, target, sums + (block.Row * shape.Heads + h) * shape.Queries + block.Start);
        }
    }, alone);

    /// <summary>Writes the gradients of q, k and v from that of the mixed values.</summary>
    public void Backward(Heads<T> outer, float* sums, Heads<T> dq, Heads<T> dk, Heads<T> dv) =>
        // One task owns one key head, so that no two add to the same dk and dv.
        Threads.Share(shape.Batch * shape.KeyHeads, tasks =>
        {
            using var work = new Work(shape, blocks.Widest, q, k, v, outer);
            while (tasks.Next(out var task))
            {
                var (b, kv) = (task / shape.KeyHeads, task % shape.KeyHeads);
                work.ClearSums();
                var (begin, end) = blocks.OfRow(b);
                for (var h = kv * _groups; h < (kv + 1) * _groups; h++)
                {
                    for (var i = begin; i < end; i++)
                    {
                        var block = blocks[i];
                        Backward(block, h, work, dq, sums + (b * shape.Heads + h) * shape.Queries + block.Start);
                    }
                }
                Store(work.KeySums, shape.Keys, _headSize, dk.Row(b, kv, 0), dk.Step);
                Store(work.ValueSums, shape.Keys, _valueSize, dv.Row(b, kv, 0), dv.Step);
            }
        });

    private void Forward(AttentionBlock block, long h, Work work, Heads<T> target, float* lses)
    {
        var (b, start, end, kv) = (block.Row, block.Start, block.Start + block.Count, h / _groups);
        var seen = new Sight(block, options);
        var queries = work.Across(work.Queries.Of(b, h, start, end), block.Count, _headSize);
        Scores(seen, queries, work.Keys.Of(b, kv, block.Low, block.High), work.Scores);
        Softmax(seen, work.Scores, lses, work.Factors);
        Mix(seen, work.Scores, work.Values.Of(b, kv, block.Low, block.High), _valueSize, work.Sums);
        for (var i = 0L; i < block.Count; i++)
            Scale(work.Sums + i * _valueSize, work.Factors[i], _valueSize, target.Row(b, h, start + i));
    }

    private void Backward(AttentionBlock block, long h, Work work, Heads<T> dq, float* lses)
    {
        var (b, start, end, low, kv) = (block.Row, block.Start, block.Start + block.Count, block.Low, h / _groups);
        var seen = new Sight(block, options);
        var (queries, outer) = (work.Queries.Of(b, h, start, end), work.Outer.Of(b, h, start, end));
        var (keys, values) = (work.Keys.Of(b, kv, low, block.High), work.Values.Of(b, kv, low, block.High));
        Scores(seen, work.Across(queries, block.Count, _headSize), keys, work.Scores);
        Products(seen, work.Across(outer, block.Count, _valueSize), values, _valueSize, 1, work.Gradients);
        Hide(seen, work.Gradients, 0);
        SoftmaxBack(seen, work.Scores, work.Gradients, lses);
        Mix(seen, work.Gradients, keys, _headSize, work.Sums);
        Store(work.Sums, block.Count, _headSize, dq.Row(b, h, start), dq.Step);
        AddToKeys(seen, work.Gradients, queries, _headSize, work.KeySums + low * _headSize);
        AddToKeys(seen, work.Scores, outer, _valueSize, work.ValueSums + low * _valueSize);
    }

    private void Scores(Sight seen, float* queries, Rows keys, float* scores)
    {
        Products(seen, queries, keys, _headSize, _scale, scores);
        if (_cap > 0)
            RowMath<float>.Cap(scores, seen.Keys * Columns, _cap);
        Hide(seen, scores, float.NegativeInfinity);
    }

    // target [keys, queries] = alpha * rows times columns, where a vector of queries sees one of six keys.
    private static void Products(Sight seen, float* columns, Rows rows, long width, float alpha, float* target)
    {
        for (var j = 0L; j < seen.Keys; j += Six)
        {
            var count = Math.Min(Six, seen.Keys - j);
            var (first, end) = (seen.First(j) / Lanes * Lanes, seen.End(j + count - 1));
            BlockProducts.SixRows(count, (end - first + Lanes - 1) / Lanes * Lanes, width, rows.At(j), rows.Step, 1,
                columns + first, Columns, alpha, false, target + j * Columns + first, Columns);
        }
    }

    // What queries do not see becomes the filler.
    private static void Hide(Sight seen, float* target, float filler)
    {
        for (var j = 0L; j < seen.Keys; j++)
        {
            var (first, end) = (seen.First(j), seen.End(j));
            if (first == 0 && end == seen.Count)
                continue;
            var (from, to) = (Vector512.Create((int)first), Vector512.Create((int)end));
            for (var i = 0L; i < seen.Count; i += Lanes)
            {
                var lane = Vector512.CreateSequence((int)i, 1);
                var inside = (Vector512.GreaterThanOrEqual(lane, from) & Vector512.LessThan(lane, to)).AsSingle();
                var part = target + j * Columns + i;
                Vector512.ConditionalSelect(inside, Vector512.Load(part), Vector512.Create(filler)).Store(part);
            }
        }
    }

    // The keys that queries of a vector see, and those of the five beside them, which are made with them.
    private static (long First, long End) KeysOf(Sight seen, long query) =>
        (seen.FirstKey(Math.Max(0, query - Six + 1)), seen.EndKey(Math.Min(seen.Count - 1, query + Lanes + Six - 2)));

    // Scores become e^(score - largest); factors are what makes their sums 1.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Softmax(Sight seen, float* scores, float* lses, float* factors)
    {
        for (var i = 0L; i < seen.Count; i += Lanes)
        {
            var (first, end) = KeysOf(seen, i);
            float* begin = scores + first * Columns + i, stop = scores + end * Columns + i;
            var top = Vector512.Create(float.NegativeInfinity);
            for (var at = begin; at < stop; at += Columns)
                top = Vector512.MaxNative(top, Vector512.Load(at));
            // A query that sees no key: e^(-inf - 0) is 0, where -inf - -inf is no number.
            var shift = Vector512.ConditionalSelect(
                Vector512.Equals(top, Vector512.Create(float.NegativeInfinity)), Vector512<float>.Zero, top);
            var sum = Vector512<float>.Zero;
            for (var at = begin; at < stop; at += Columns)
            {
                var e = VectorMath.Exp(Vector512.Load(at) - shift);
                sum += e;
                e.Store(at);
            }
            var isBlind = Vector512.Equals(sum, Vector512<float>.Zero);
            Vector512.ConditionalSelect(isBlind, sum, Vector512<float>.One / sum).Store(factors + i);
            var infinite = Vector512.Create(float.PositiveInfinity);
            Last.Store(
                Vector512.ConditionalSelect(isBlind, infinite, shift + Vector512.Log(sum)), lses + i, seen.Count - i);
        }
    }

    // Scores become probabilities again, and the probabilities' gradient that of the raw scores.
    private void SoftmaxBack(Sight seen, float* scores, float* gradients, float* lses)
    {
        var shifts = stackalloc float[(int)Columns];
        new Span<float>(lses, (int)seen.Count).CopyTo(new(shifts, (int)Columns));
        for (var i = 0L; i < seen.Count; i += Lanes)
        {
            var (first, end) = KeysOf(seen, i);
            var at = first * Columns + i;
            if (_cap > 0)
                SoftmaxBackCapped(scores + at, gradients + at, end - first, Vector512.Load(shifts + i));
            else
                SoftmaxBack(scores + at, gradients + at, end - first, Vector512.Load(shifts + i), _scale);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SoftmaxBack(float* scores, float* gradients, long n, Vector512<float> shift, float scale)
    {
        var mean = Vector512<float>.Zero;
        for (var at = 0L; at < n * Columns; at += Columns)
        {
            var p = VectorMath.Exp(Vector512.Load(scores + at) - shift);
            mean += p * Vector512.Load(gradients + at);
            p.Store(scores + at);
        }
        for (var at = 0L; at < n * Columns; at += Columns)
        {
            var p = Vector512.Load(scores + at) * scale;
            (p * (Vector512.Load(gradients + at) - mean)).Store(gradients + at);
        }
    }

    // As above, where each score became cap * tanh(score / cap).
    private void SoftmaxBackCapped(float* scores, float* gradients, long n, Vector512<float> shift)
    {
        var (mean, low, one) = (Vector512<float>.Zero, Vector512.Create(-_cap), Vector512<float>.One);
        for (var at = 0L; at < n * Columns; at += Columns)
            mean += VectorMath.Exp(Vector512.Load(scores + at) - shift) * Vector512.Load(gradients + at);
        for (var at = 0L; at < n * Columns; at += Columns)
        {
            var score = Vector512.Load(scores + at);
            var p = VectorMath.Exp(score - shift);
            var share = Vector512.Max(score, low) / _cap;
            (p * (Vector512.Load(gradients + at) - mean) * _scale * (one - share * share)).Store(gradients + at);
            p.Store(scores + at);
        }
    }

    // sums [queries, width] = each query's weights times the rows of the keys it sees.
    private static void Mix(Sight seen, float* weights, Rows rows, long width, float* sums)
    {
        for (var i = 0L; i < seen.Count; i += Six)
        {
            var count = Math.Min(Six, seen.Count - i);
            var (first, end) = (seen.FirstKey(i), seen.EndKey(i + count - 1));
            BlockProducts.SixRows(count, width, end - first, weights + first * Columns + i, 1, Columns, rows.At(first),
                rows.Step, 1, false, sums + i * width, width);
        }
    }

    // sums [keys, width] += each key's weights times the rows of the queries that see it.
    private static void AddToKeys(Sight seen, float* weights, Rows rows, long width, float* sums)
    {
        for (var j = 0L; j < seen.Keys; j += Six)
        {
            var count = Math.Min(Six, seen.Keys - j);
            var (first, end) = (seen.First(j), seen.End(j + count - 1));
            BlockProducts.SixRows(count, width, end - first, weights + j * Columns + first, Columns, 1, rows.At(first),
                rows.Step, 1, true, sums + j * width, width);
        }
    }

    private static void Store(float* rows, long count, long width, T* target, long step)
    {
        for (var i = 0L; i < count; i++)
            Scale(rows + i * width, 1, width, target + i * step);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scale(float* row, float factor, long n, T* target)
    {
        for (var j = 0L; j < n; j += Lanes)
            VectorMath.Store(Vector512.Load(row + j) * factor, target + j);
    }

    /// <summary>Rows of float32, a step apart.</summary>
    private readonly struct Rows(float* first, long step)
    {
        public readonly long Step = step;

        public float* At(long row) => first + row * Step;
    }

    /// <summary>Rows of a head as float32: where they lie, or widened into memory for so many rows. What is there
    /// already stays, as a block sees most keys of the one before.</summary>
    private sealed class Wide(Heads<T> heads, float* memory, long room, long width)
    {
        private (long Batch, long Head) _of = (-1, -1);
        private long _from, _to;

        public static long Size(long room, long width) => typeof(T) == typeof(float) ? 0 : room * width;

        public Rows Of(long b, long h, long from, long to)
        {
            if (typeof(T) == typeof(float))
                return new((float*)heads.Row(b, h, from), heads.Step);
            if (_of != (b, h) || from < _from || from > _to || to - _from > room)
                (_of, _from, _to) = ((b, h), from, from);
            for (; _to < to; _to++)
                VectorMath.Widen(heads.Row(b, h, _to), width, memory + (_to - _from) * width);
            return new(memory + (from - _from) * width, width);
        }
    }

    /// <summary>What one thread works in: for blocks of at most so many keys, and for the way back where outer is
    /// given.</summary>
    private sealed class Work : IDisposable
    {
        private readonly Scratch<float> _memory;
        private readonly float* _across;
        private readonly long _sums;
        private float* _free;

        public Work(AttentionShape shape, long most, Heads<T> q, Heads<T> k, Heads<T> v, Heads<T>? outer)
        {
            var (head, value, wide) = (shape.HeadSize, shape.ValueSize, Math.Max(shape.HeadSize, shape.ValueSize));
            var copies = Wide.Size(most + Columns, head + value);
            _sums = outer is null ? 0 : shape.Keys * (head + value);
            _memory = new((outer is null ? 1 : 2) * most * Columns + 2 * wide * Columns + Columns + copies + _sums);
            _free = _memory.Pointer;
            Scores = Take(most * Columns);
            Gradients = Take(outer is null ? 0 : most * Columns);
            _across = Take(wide * Columns);
            Sums = Take(wide * Columns);
            Factors = Take(Columns);
            Queries = new(q, Take(Wide.Size(Columns, head)), Columns, head);
            Outer = new(outer ?? default, Take(Wide.Size(Columns, value)), Columns, value);
            Keys = new(k, Take(Wide.Size(most, head)), most, head);
            Values = new(v, Take(Wide.Size(most, value)), most, value);
            KeySums = Take(_sums == 0 ? 0 : shape.Keys * head);
            ValueSums = _free;
        }

        public Wide Queries { get; }

        public Wide Keys { get; }

        public Wide Values { get; }

        public Wide Outer { get; }

        /// <summary>Probabilities, or what becomes them: [keys, queries].</summary>
        public float* Scores { get; }

        public float* Gradients { get; }

        public float* Sums { get; }

        public float* Factors { get; }

        /// <summary>Gradients of all keys of a head, [keys, d].</summary>
        public float* KeySums { get; }

        public float* ValueSums { get; }

        public void ClearSums() => new Span<float>(KeySums, checked((int)_sums)).Clear();

        /// <summary>Rows side by side, [width, rows]; what lies beside them is zero. Valid until the next.</summary>
        public float* Across(Rows rows, long count, long width)
        {
            if (count < Columns)
                new Span<float>(_across, (int)(width * Columns)).Clear();
            BlockProducts.Transpose(rows.At(0), rows.Step, count, width, _across, Columns);
            return _across;
        }

        public void Dispose() => _memory.Dispose();

        private float* Take(long count)
        {
            var taken = _free;
            _free += count;
            return taken;
        }
    }
}
