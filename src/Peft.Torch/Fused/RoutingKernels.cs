using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

/// <summary>What a router's scores need of their input's type.</summary>
internal interface IRouterScoresKernel
{
    /// <summary>scores [N, E] = x weightt; then what follows for rows [begin, end), on their thread.</summary>
    void Forward(Tensor scores, Action<long, long>? then);

    /// <summary>dx = slopes weight, dw = slopest x; null where no one asks for it. Slopes of rows [begin, end) are
    /// made by <paramref name="prepare"/> on their thread where it is given.</summary>
    void Backward(Tensor slopes, Tensor? dx, Tensor? dw, Action<long, long>? prepare);
}

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
    public void Forward(Tensor scores, Action<long, long>? then)
    {
        var target = TensorMemory.Of<float>(scores);
        _shares.Run((_, begin, end) =>
        {
            FewRows<T, float>.Multiply(
                end - begin, _experts, _width, _x + begin * _width, _width, _weight, _width, 0,
                target + begin * _experts, _experts);
            then?.Invoke(begin, end);
        });
    }

    /// <inheritdoc/>
    public void Backward(Tensor slopes, Tensor? dx, Tensor? dw, Action<long, long>? prepare)
    {
        using var partial = new Scratch<float>(dw is null ? 0 : _shares.Count * _experts * _width);
        var (sums, outer) = ((nint)partial.Pointer, (nint)TensorMemory.Of<float>(slopes));
        var (inputs, weights) = ((nint)TensorMemory.Of<T>(dx), (nint)TensorMemory.Of<float>(dw));
        _shares.Run((share, begin, end) =>
        {
            prepare?.Invoke(begin, end);
            using var wide = new Scratch<float>(typeof(T) == typeof(float) ? 0 : ChunkRows * _width);
            for (var i = begin; i < end; i += ChunkRows)
            {
                var count = Math.Min(ChunkRows, end - i);
                var slope = (float*)outer + i * _experts;
                if (weights != 0)
                {
                    Gemm.Multiply(true, false, _experts, _width, count, 1f, slope, _experts,
                        Widened(_x + i * _width, count * _width, wide.Pointer), _width, i == begin ? 0f : 1f,
                        (float*)sums + share * _experts * _width, _width);
                }

                if (inputs == 0)
                    continue;
                var goal = (T*)inputs + i * _width;
                var product = typeof(T) == typeof(float) ? (float*)goal : wide.Pointer;
                Gemm.Multiply(false, false, count, _width, _experts, 1f, slope, _experts, _weight, _width, 0f, product,
                    _width);
                if (typeof(T) != typeof(float))
                    VectorMath.Store(product, count * _width, goal);
            }
        });
        _shares.Sum((float*)sums, _experts * _width, (float*)weights);
    }

    private static float* Widened(T* rows, long count, float* wide)
    {
        if (typeof(T) == typeof(float))
            return (float*)rows;
        VectorMath.Widen(rows, count, wide);
        return wide;
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

    private static bool IsAbove(float value, float other) =>
        value > other || (float.IsNaN(value) && !float.IsNaN(other));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Keep(float* p, byte* kept, float* gates, long rows, long n, bool normalize)
    {
        for (long i = 0; i < rows; i++, p += n, kept += n, gates += n)
        {
            var sum = 0f;
            for (var j = 0; j < n; j++)
                sum += gates[j] = kept[j] == 0 ? 0 : p[j];
            for (var j = 0; normalize && j < n; j++)
                gates[j] /= sum;
        }
    }

    // Of kept / sum: (slope - sum(slope kept) / sum) / sum where it is kept.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void KeepBack(
        float* slopes, float* p, byte* kept, float* dp, long rows, long n, bool normalize)
    {
        for (long i = 0; i < rows; i++, slopes += n, p += n, kept += n, dp += n)
        {
            float sum = 0, weighted = 0;
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

    // tau[i] and support[i] are kept for the gradient. Sums run downwards over the sorted scores, as composed.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Project(
        float* scores, float* sparsity, float eps, float* gates, byte* open, float* tau, int* support, long rows, int n)
    {
        const float Rounding = 1e-6f;
        using var work = new Scratch<float>(n);
        for (long i = 0; i < rows; i++, scores += n, gates += n, open += n)
        {
            var left = 1 - sparsity[i];
            var sorted = new Span<float>(work.Pointer, n);
            new Span<float>(scores, n).CopyTo(sorted);
            sorted.Sort();
            var (sum, count) = (0f, 0);
            for (var j = 0; j < n; j++)
            {
                sum += sorted[n - 1 - j];
                count += left + sorted[n - 1 - j] * (j + 1) > sum ? 1 : 0;
            }

            support[i] = Math.Max(1, count);
            sum = 0;
            for (var j = 0; j < support[i]; j++)
                sum += sorted[n - 1 - j];
            tau[i] = (sum - left) / support[i];
            for (var j = 0; j < n; j++)
            {
                var above = scores[j] - tau[i];
                gates[j] = (above < 0 ? 0 : above) / MathF.Max(left, eps);
                open[j] = above > -Rounding ? (byte)1 : (byte)0;
            }
        }
    }

    // Through u - tau where it is above 0, through tau to the support's scores and the sparsity, and through the
    // divisor to the sparsity.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ProjectBack(
        float* slopes, float* scores, float* sparsity, float eps, float* tau, int* support, float* du, float* dl,
        long rows, int n)
    {
        using var work = new Scratch<float>(n);
        for (long i = 0; i < rows; i++, slopes += n, scores += n, du += n)
        {
            var left = 1 - sparsity[i];
            var divisor = MathF.Max(left, eps);
            float ofTau = 0, ofDivisor = 0;
            for (var j = 0; j < n; j++)
            {
                var above = scores[j] - tau[i];
                du[j] = above > 0 ? slopes[j] / divisor : 0;
                ofTau -= du[j];
                ofDivisor -= above > 0 ? slopes[j] * above / (divisor * divisor) : 0;
            }

            dl[i] = ofTau / support[i] - (left >= eps ? ofDivisor : 0);
            Share(scores, du, ofTau / support[i], support[i], n, work.Pointer);
        }
    }

    // Adds to the slopes of the largest scores, of equals the first: those that a stable sort puts in front.
    private static void Share(float* scores, float* du, float share, int count, int n, float* work)
    {
        var taken = new Span<byte>(work, n);
        taken.Clear();
        for (var round = 0; round < count; round++)
        {
            var best = -1;
            for (var j = 0; j < n; j++)
            {
                if (taken[j] == 0 && (best < 0 || IsAbove(scores[j], scores[best])))
                    best = j;
            }

            taken[best] = 1;
            du[best] += share;
        }
    }
}
