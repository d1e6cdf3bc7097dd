using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

/// <summary>What a router's scores need of their input's type.</summary>
internal interface IRouterScoresKernel
{
    /// <summary>scores [N, E] = x weightt, of standardized x where <paramref name="moments"/> [N, 2] are asked for;
    /// then what follows for rows [begin, end), on their thread.</summary>
    void Forward(Tensor scores, Tensor? moments, Action<long, long>? then);

    /// <summary>dx = slopes weight, dw = slopest x; null where no one asks for it. Slopes of rows [begin, end) are
    /// made by <paramref name="prepare"/> on their thread where it is given; those of standardized rows are
    /// overwritten.</summary>
    void Backward(
        Tensor slopes, Tensor? dx, Tensor? dw, StandardizedSlopes? standard, Action<long, long>? prepare);
}

/// <summary>What the gradient of scores of standardized rows needs: the scores [N, E], and of each row its mean and one
/// over its deviation [N, 2].</summary>
internal sealed record StandardizedSlopes(Tensor Scores, Tensor Moments);

/// <summary>Products of rows with a gate matrix; a chunk of rows is widened in the cache.</summary>
/// <typeparam name="T">float, or ushort holding bfloat16.</typeparam>
internal sealed unsafe class RouterScoresKernel<T>(Tensor x, Tensor weight) : IRouterScoresKernel
    where T : unmanaged
{
    private const long ChunkRows = 64;
    private readonly long _rows = x.size(0), _width = x.size(1), _experts = weight.size(0);
    private readonly T* _x = TensorMemory.Of<T>(x);
    private readonly float* _weight = TensorMemory.Of<float>(weight);

    private readonly RowShares _shares = new(x.size(0), ChunkRows);

    /// <inheritdoc/>
    public void Forward(Tensor scores, Tensor? moments, Action<long, long>? then)
    {
        var (target, pairs) = ((nint)TensorMemory.Of<float>(scores), (nint)TensorMemory.Of<float>(moments));
        _shares.Run((_, begin, end) =>
        {
            var own = (float*)target + begin * _experts;
            FewRows<T, float>.Multiply(
                end - begin, _experts, _width, _x + begin * _width, _width, _weight, _width, 0, own, _experts);
            if (pairs != 0)
            {
                StandardRows<T>.Standardize(_x + begin * _width, _width, (float*)pairs + 2 * begin, _weight, own,
                    end - begin, _experts);
            }

            then?.Invoke(begin, end);
        });
    }

    /// <inheritdoc/>
    public void Backward(
        Tensor slopes, Tensor? dx, Tensor? dw, StandardizedSlopes? standard, Action<long, long>? prepare)
    {
        // Behind the sums of dw one number an expert: what the rows' means take from it.
        var each = _experts * (_width + 1);
        using var partial = new Scratch<float>(_shares.Count * each);
        new Span<float>(partial.Pointer, checked((int)(_shares.Count * each))).Clear();
        var (sums, outer) = ((nint)partial.Pointer, (nint)TensorMemory.Of<float>(slopes));
        var (inputs, weights) = ((nint)TensorMemory.Of<T>(dx), (nint)TensorMemory.Of<float>(dw));
        _shares.Run((share, begin, end) =>
        {
            prepare?.Invoke(begin, end);
            var own = (float*)sums + share * each;
            using var factors = new Scratch<float>(standard is null ? 0 : 2 * (end - begin));
            if (standard is not null)
                StandardRows<T>.Slopes(
                    (float*)outer, standard, _weight, _width, begin, end, factors.Pointer, own + _experts * _width);
            using var wide = new Scratch<float>(typeof(T) == typeof(float) ? 0 : ChunkRows * _width);
            for (var i = begin; i < end; i += ChunkRows)
            {
                var count = Math.Min(ChunkRows, end - i);
                var slope = (float*)outer + i * _experts;
                if (weights != 0)
                {
                    Gemm.Multiply(true, false, _experts, _width, count, 1f, slope, _experts,
                        Widened(_x + i * _width, count * _width, wide.Pointer), _width, 1f, own, _width);
                }

                if (inputs != 0)
                {
                    Inputs(slope, count, wide.Pointer, i, standard is null ? null : factors.Pointer + 2 * (i - begin),
                        (T*)inputs + i * _width);
                }
            }
        });
        Sum((float*)sums, each, (float*)weights);
    }

    private void Inputs(float* slope, long count, float* wide, long first, float* factors, T* goal)
    {
        var product = typeof(T) == typeof(float) ? (float*)goal : wide;
        Gemm.Multiply(
            false, false, count, _width, _experts, 1f, slope, _experts, _weight, _width, 0f, product, _width);
        for (var i = 0; factors != null && i < count; i++)
        {
            StandardRows<T>.AddRow(
                _x + (first + i) * _width, factors[2 * i], factors[2 * i + 1], product + i * _width, _width);
        }

        if (typeof(T) != typeof(float))
            VectorMath.Store(product, count * _width, goal);
    }

    private void Sum(float* parts, long each, float* target)
    {
        if (target == null)
            return;
        using var all = new Scratch<float>(each);
        _shares.Sum(parts, each, all.Pointer);
        for (long e = 0; e < _experts; e++)
        {
            TensorPrimitives.Subtract(new ReadOnlySpan<float>(all.Pointer + e * _width, (int)_width),
                all.Pointer[_experts * _width + e], new Span<float>(target + e * _width, (int)_width));
        }
    }

    private static float* Widened(T* rows, long count, float* wide)
    {
        if (typeof(T) == typeof(float))
            return (float*)rows;
        VectorMath.Widen(rows, count, wide);
        return wide;
    }
}

/// <summary>Rows less their mean over their deviation, as routers compare them; no such row is ever
/// written.</summary>
/// <typeparam name="T">float, or ushort holding bfloat16.</typeparam>
internal static unsafe class StandardRows<T>
    where T : unmanaged
{
    private const int Step = Elements<T>.Count;

    /// <summary>Scores of rows become those of standardized rows: (score - mean sum(weight)) / deviation. The moments
    /// are mean and one over the deviation.</summary>
    public static void Standardize(
        T* x, long width, float* moments, float* weight, float* scores, long rows, long experts)
    {
        using var totals = new Scratch<float>(experts);
        for (long e = 0; e < experts; e++)
            totals.Pointer[e] = TensorPrimitives.Sum(new ReadOnlySpan<float>(weight + e * width, (int)width));
        for (long i = 0; i < rows; i++, x += width, moments += 2, scores += experts)
        {
            var mean = Sum(x, width, 0, false) / width;
            var inverse = 1 / MathF.Sqrt(Sum(x, width, mean, true) / width + (float)RouterScores.Epsilon);
            (moments[0], moments[1]) = (mean, inverse);
            for (long e = 0; e < experts; e++)
                scores[e] = inverse * (scores[e] - mean * totals.Pointer[e]);
        }
    }

    /// <summary>Slopes of scores of standardized rows become those of the rows' products, in place. Factors (a, b) of
    /// each row say what its own gradient lacks: a x + b. Subtracted takes what the gradient of the weight has too much
    /// of, one number an expert.</summary>
    public static void Slopes(
        float* slopes, StandardizedSlopes standard, float* weight, long width, long begin, long end, float* factors,
        float* subtracted)
    {
        var experts = standard.Scores.size(1);
        using var totals = new Scratch<float>(experts);
        for (long e = 0; e < experts; e++)
            totals.Pointer[e] = TensorPrimitives.Sum(new ReadOnlySpan<float>(weight + e * width, (int)width));
        var scores = TensorMemory.Of<float>(standard.Scores) + begin * experts;
        var moments = TensorMemory.Of<float>(standard.Moments) + 2 * begin;
        slopes += begin * experts;
        for (var i = begin; i < end; i++, slopes += experts, scores += experts, moments += 2, factors += 2)
        {
            var (mean, inverse) = (moments[0], moments[1]);
            float ofMean = 0, ofDeviation = 0;
            for (long e = 0; e < experts; e++)
            {
                ofMean += slopes[e] * totals.Pointer[e] / width;
                ofDeviation += slopes[e] * scores[e] / width;
                slopes[e] *= inverse;
                subtracted[e] += slopes[e] * mean;
            }

            factors[0] = -inverse * inverse * ofDeviation;
            factors[1] = -inverse * ofMean - factors[0] * mean;
        }
    }

    /// <summary>row += a x + b.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddRow(T* x, float a, float b, float* row, long n)
    {
        var (factor, offset) = (Vector512.Create(a), Vector512.Create(b));
        long j = 0;
        for (; j + Step <= n; j += Step)
            Add<Whole>(x + j, factor, offset, row + j, Step);
        if (j < n)
            Add<Last>(x + j, factor, offset, row + j, n - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add<P>(T* x, Vector512<float> a, Vector512<float> b, float* row, long left)
        where P : IPart =>
        P.Store(P.Load(row, left) + Vector512.FusedMultiplyAdd(a, P.Load(x, left), b), row, left);

    // The sum of x - mean, or of its squares.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Sum(T* x, long n, float mean, bool squared)
    {
        var (even, odd, center) = (Vector512<float>.Zero, Vector512<float>.Zero, Vector512.Create(mean));
        long j = 0;
        for (; squared && j + 2 * Step <= n; j += 2 * Step)
        {
            var (a, b) = (Elements<T>.Load(x + j) - center, Elements<T>.Load(x + j + Step) - center);
            (even, odd) = (Vector512.FusedMultiplyAdd(a, a, even), Vector512.FusedMultiplyAdd(b, b, odd));
        }

        for (; !squared && j + 2 * Step <= n; j += 2 * Step)
            (even, odd) = (even + Elements<T>.Load(x + j), odd + Elements<T>.Load(x + j + Step));
        var sum = Vector512.Sum(even + odd);
        for (; j < n; j++)
        {
            var rest = VectorMath.Widen<T, float>(x[j]) - mean;
            sum += squared ? rest * rest : rest;
        }

        return sum;
    }
}

/// <summary>Loops over rows of a few numbers, one an expert: libtorch's operations take longer to begin than these to
/// end.</summary>
internal static unsafe class SmallRows
{
    public static bool Serve(Tensor values) =>
        Kernels.Enabled && values.dim() == 2 && values.device_type == DeviceType.CPU
        && values.dtype == ScalarType.Float32 && values.numel() > 0;

    public static Tensor TopMask(Tensor values, int k)
    {
        var mask = torch.zeros(values.shape, ScalarType.Bool);
        Choose(TensorMemory.Of<float>(values), TensorMemory.Of<byte>(mask), values.size(0), (int)values.size(1), k);
        return mask;
    }

    // Marks the k largest of each row; nothing is marked before.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Choose(float* values, byte* chosen, long rows, int n, int k)
    {
        for (long i = 0; i < rows; i++, values += n, chosen += n)
        {
            for (var round = 0; round < Math.Min(k, n); round++)
            {
                var best = -1;
                for (var j = 0; j < n; j++)
                {
                    if (chosen[j] == 0 && (best < 0 || IsAbove(values[j], values[best])))
                        best = j;
                }

                chosen[best] = 1;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Softmax(float* logits, float* p, long rows, long n)
    {
        for (long i = 0; i < rows; i++, logits += n, p += n)
        {
            var top = logits[0];
            for (var j = 1; j < n; j++)
                top = MathF.Max(top, logits[j]);
            for (var j = 0; j < n; j++)
                p[j] = logits[j] - top;
        }

        p -= rows * n;
        Exponentiate(p, rows * n);
        for (long i = 0; i < rows; i++, p += n)
        {
            var sum = 0f;
            for (var j = 0; j < n; j++)
                sum += p[j];
            for (var j = 0; j < n; j++)
                p[j] /= sum;
        }
    }

    // The gradient of logits in place of that of their softmax p.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void SoftmaxBack(float* slopes, float* p, long rows, long n)
    {
        for (long i = 0; i < rows; i++, slopes += n, p += n)
        {
            var mean = 0f;
            for (var j = 0; j < n; j++)
                mean += slopes[j] * p[j];
            for (var j = 0; j < n; j++)
                slopes[j] = p[j] * (slopes[j] - mean);
        }
    }

    public static void Add(float* target, float* added, long count)
    {
        if (added != null)
            TensorPrimitives.Add(new Span<float>(target, (int)count), new Span<float>(added, (int)count),
                new Span<float>(target, (int)count));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Exponentiate(float* values, long count)
    {
        long j = 0;
        for (; j + Elements<float>.Count <= count; j += Elements<float>.Count)
            VectorMath.Exp(Elements<float>.Load(values + j)).Store(values + j);
        if (j < count)
            Last.Store(VectorMath.Exp(Last.Load(values + j, count - j)), values + j, count - j);
    }

    public static bool IsAbove(float value, float other) =>
        value > other || (float.IsNaN(value) && !float.IsNaN(other));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Keep(float* p, byte* kept, float* gates, long rows, long n, bool normalize, float epsilon)
    {
        for (long i = 0; i < rows; i++, p += n, kept += n, gates += n)
        {
            var sum = 0f;
            for (var j = 0; j < n; j++)
                sum += gates[j] = kept[j] == 0 ? 0 : p[j];
            sum += epsilon;
            for (var j = 0; normalize && j < n; j++)
                gates[j] /= sum;
        }
    }

    // Logits of products: their magnitudes where asked, over the temperature; -inf where an expert is not there.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Logits(
        float* products, byte* present, bool magnitude, float temperature, float* logits, long rows, long n)
    {
        for (long i = 0; i < rows; i++, products += n, logits += n)
        {
            for (var j = 0; j < n; j++)
            {
                var score = magnitude ? MathF.Abs(products[j]) : products[j];
                logits[j] = present == null || present[j] != 0 ? score / temperature : float.NegativeInfinity;
            }
        }
    }

    // The gradient of products in place of that of their logits.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void LogitsBack(
        float* products, byte* present, bool magnitude, float temperature, float* slopes, long rows, long n)
    {
        for (long i = 0; i < rows; i++, products += n, slopes += n)
        {
            for (var j = 0; j < n; j++)
            {
                var sign = !magnitude || products[j] > 0 ? 1f : products[j] < 0 ? -1f : 0f;
                slopes[j] = present == null || present[j] != 0 ? sign * slopes[j] / temperature : 0;
            }
        }
    }

    // Takes back the marks of experts that are not there.
    public static void Unmark(byte* present, byte* chosen, long rows, long n)
    {
        for (long i = 0; present != null && i < rows * n; i++)
            chosen[i] &= present[i % n];
    }

    // Of kept / sum: (slope - sum(slope kept) / sum) / sum where it is kept.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void KeepBack(
        float* slopes, float* p, byte* kept, float* dp, long rows, long n, bool normalize, float epsilon)
    {
        for (long i = 0; i < rows; i++, slopes += n, p += n, kept += n, dp += n)
        {
            float sum = epsilon, weighted = 0;
            for (var j = 0; normalize && j < n; j++)
            {
                if (kept[j] == 0)
                    continue;
                sum += p[j];
                weighted += slopes[j] * p[j];
            }

            for (var j = 0; j < n; j++)
                dp[j] = kept[j] == 0 ? 0 : normalize ? (slopes[j] - (weighted / sum)) / sum : slopes[j];
        }
    }
}
