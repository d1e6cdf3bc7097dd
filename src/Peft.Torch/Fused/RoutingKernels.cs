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

    /// <summary>dx = slopes weight, or what is there plus that, dw = slopest x; null where no one asks for it. Slopes
    /// of rows [begin, end) are made by <paramref name="prepare"/> on their thread where it is given; those of
    /// standardized rows are overwritten.</summary>
    void Backward(
        Tensor slopes, Tensor? dx, bool adds, Tensor? dw, StandardizedSlopes? standard, Action<long, long>? prepare);
}

/// <summary>What the gradient of scores of standardized rows needs: the scores [N, E], and of each row its mean and one
/// over its deviation [N, 2].</summary>
internal sealed record StandardizedSlopes(Tensor Scores, Tensor Moments);

/// <summary>Products of rows with a gate matrix; a chunk of rows is widened in the cache.</summary>
/// <typeparam name="T">float, or ushort holding bfloat16.</typeparam>
internal sealed unsafe class RouterScoresKernel<T>(Tensor x, Tensor weight) : IRouterScoresKernel
    where T : unmanaged
{
    private const long ChunkRows = 64, Strip = BlockProducts.Wide;

    private readonly long _rows = x.size(0), _width = x.size(1), _experts = weight.size(0);
    private readonly T* _x = TensorMemory.Of<T>(x);
    private readonly float* _weight = TensorMemory.Of<float>(weight);

    private readonly RowShares _shares = new(x.size(0), ChunkRows);

    // Columns that stay in the nearest cache, by our own loops: a general product copies its factors first.
    private bool IsByStrips => Vector512.IsHardwareAccelerated && _width % BlockProducts.Lanes == 0;

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
        Tensor slopes, Tensor? dx, bool adds, Tensor? dw, StandardizedSlopes? standard, Action<long, long>? prepare)
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
            using var wide = new Scratch<float>(ChunkRows * (IsByStrips ? Strip : _width));
            for (var i = begin; i < end; i += ChunkRows)
            {
                var count = Math.Min(ChunkRows, end - i);
                var slope = (float*)outer + i * _experts;
                var factor = standard is null ? null : factors.Pointer + 2 * (i - begin);
                for (long j = 0, columns; j < _width; j += columns)
                {
                    columns = IsByStrips ? Math.Min(Strip, _width - j) : _width;
                    if (weights != 0)
                        AddToWeights(slope, i, count, j, columns, wide.Pointer, own + j);
                    if (inputs != 0)
                        Inputs(slope, i, count, j, columns, factor, wide.Pointer, (T*)inputs, adds);
                }
            }
        });
        Sum((float*)sums, each, (float*)weights);
    }

    // own [E, columns] += slope^T x.
    private void AddToWeights(float* slope, long i, long count, long j, long columns, float* wide, float* own)
    {
        var (rows, step) = ((nint)(_x + i * _width + j), _width);
        if (typeof(T) != typeof(float))
        {
            for (long row = 0; row < count; row++)
                VectorMath.Widen(_x + (i + row) * _width + j, columns, wide + row * columns);
            (rows, step) = ((nint)wide, columns);
        }

        if (!IsByStrips)
        {
            Gemm.Multiply(true, false, _experts, columns, count, 1f, slope, _experts, (float*)rows, step, 1f, own,
                _width);
            return;
        }

        for (long e = 0; e < _experts; e += BlockProducts.Four)
        {
            for (long c = 0, width; c < columns; c += width)
            {
                width = BlockProducts.WidthAt(c, columns);
                BlockProducts.Tile(width, count, FourRows.From(slope + e, 1, _experts - e), _experts,
                    (float*)rows + c, step, 1, true, FourRows.From(own + e * _width + c, _width, _experts - e));
            }
        }
    }

    // goal [count, columns] = slope weight, or itself plus that, and what standardized rows lack.
    private void Inputs(
        float* slope, long i, long count, long j, long columns, float* factors, float* wide, T* goal, bool adds)
    {
        goal += i * _width + j;
        var isInPlace = typeof(T) == typeof(float);
        var (product, step) = isInPlace ? ((nint)goal, _width) : ((nint)wide, columns);
        if (IsByStrips)
        {
            BlockProducts.Multiply(count, columns, _experts, slope, _experts, 1, _weight + j, _width, 1,
                isInPlace && adds, (float*)product, step);
        }
        else
        {
            Gemm.Multiply(false, false, count, columns, _experts, 1f, slope, _experts, _weight, _width,
                isInPlace && adds ? 1f : 0f, (float*)product, step);
        }

        for (long row = 0; row < count; row++)
        {
            var own = (float*)product + row * step;
            if (factors != null)
                StandardRows<T>.AddRow(
                    _x + (i + row) * _width + j, factors[2 * row], factors[2 * row + 1], own, columns);
            if (!isInPlace)
                VectorMath.Finish(own, columns, goal + row * _width, adds);
        }
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
        using var totals = Totals(weight, width, experts);
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
        using var totals = Totals(weight, width, experts);
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

    // The sum of each expert's weights.
    private static Scratch<float> Totals(float* weight, long width, long experts)
    {
        var totals = new Scratch<float>(experts);
        for (long e = 0; e < experts; e++)
            totals.Pointer[e] = TensorPrimitives.Sum(new ReadOnlySpan<float>(weight + e * width, (int)width));
        return totals;
    }

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
