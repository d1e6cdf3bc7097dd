using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

/// <summary>Loops over rows of a few numbers, one an expert: libtorch's operations take longer to begin than these to
/// end.</summary>
internal static unsafe class SmallRows
{
    /// <summary>Numbers of a row that are sorted by insertion; more take the square of their number.</summary>
    public const int MostInserted = 64;

    public static bool Serve(Tensor values) =>
        Kernels.Enabled && values.dim() == 2 && values.device_type == DeviceType.CPU
        && values.dtype == ScalarType.Float32 && values.numel() > 0;

    public static Tensor TopMask(Tensor values, int k)
    {
        var (rows, n) = (values.size(0), (int)values.size(1));
        var mask = torch.zeros(values.shape, ScalarType.Bool);
        var (from, to) = ((nint)TensorMemory.Of<float>(values), (nint)TensorMemory.Of<byte>(mask));
        Elements<float>.ForRows(rows, 8 * n, (begin, end) =>
            Choose((float*)from + begin * n, (byte*)to + begin * n, end - begin, n, k));
        return mask;
    }

    public static Tensor Largest(Tensor values, int k)
    {
        var (rows, n) = (values.size(0), (int)values.size(1));
        var largest = torch.empty([rows, k], ScalarType.Float32);
        var (from, to) = ((nint)TensorMemory.Of<float>(values), (nint)TensorMemory.Of<float>(largest));
        Elements<float>.ForRows(rows, 8 * n, (begin, end) =>
            Largest((float*)from + begin * n, (float*)to + begin * k, end - begin, n, k));
        return largest;
    }

    public static Tensor NucleusMask(Tensor probabilities, float most, int least, bool keepsCrossing)
    {
        var (rows, n) = (probabilities.size(0), (int)probabilities.size(1));
        var mask = torch.zeros(probabilities.shape, ScalarType.Bool);
        var (from, to) = ((nint)TensorMemory.Of<float>(probabilities), (nint)TensorMemory.Of<byte>(mask));
        Elements<float>.ForRows(rows, 8 * n, (begin, end) => Nucleus(
            (float*)from + begin * n, (byte*)to + begin * n, end - begin, n, most, least, keepsCrossing));
        return mask;
    }

    // Marks the k largest of each row; nothing is marked before.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Choose(float* values, byte* chosen, long rows, int n, int k)
    {
        if (Math.Min(k, n) > MostInserted)
        {
            ChooseMany(values, chosen, rows, n, Math.Min(k, n));
            return;
        }

        for (long i = 0; i < rows; i++, values += n, chosen += n)
        {
            for (var round = 0; round < Math.Min(k, n); round++)
                chosen[BestOf(values, chosen, n)] = 1;
        }
    }

    // By sorting: numbers whose order is that of the values, the largest first, and their places behind them.
    private static void ChooseMany(float* values, byte* chosen, long rows, int n, int k)
    {
        using var work = new Scratch<ulong>(n);
        var keys = new Span<ulong>(work.Pointer, n);
        for (long i = 0; i < rows; i++, values += n, chosen += n)
        {
            for (var j = 0; j < n; j++)
            {
                var bits = BitConverter.SingleToUInt32Bits(values[j] + 0f); // one zero
                var rising = float.IsNaN(values[j]) ? uint.MaxValue : bits >> 31 == 0 ? bits | (1u << 31) : ~bits;
                keys[j] = ((ulong)~rising << 32) | (uint)j;
            }

            keys.Sort();
            foreach (var key in keys[..k])
                chosen[(uint)key] = 1;
        }
    }

    // The k largest of each row, largest first.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Largest(float* values, float* largest, long rows, int n, int k)
    {
        for (long i = 0; i < rows; i++, values += n, largest += k)
        {
            var held = 0;
            for (var j = 0; j < n; j++)
            {
                var (value, at) = (values[j], held);
                for (; at > 0 && IsAbove(value, largest[at - 1]); at--)
                {
                    if (at < k)
                        largest[at] = largest[at - 1];
                }

                if (at < k)
                    largest[at] = value;
                held = Math.Min(held + 1, k);
            }
        }
    }

    // Marks the largest of each row while they add up to at most p, and never fewer than the least; nothing is marked
    // before.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Nucleus(float* p, byte* chosen, long rows, int n, float most, int least, bool keepsCrossing)
    {
        var order = stackalloc int[MostInserted];
        var isSorted = n <= MostInserted;
        for (long i = 0; i < rows; i++, p += n, chosen += n)
        {
            for (var j = 0; isSorted && j < n; j++)
            {
                var at = j;
                for (; at > 0 && IsAbove(p[j], p[order[at - 1]]); at--)
                    order[at] = order[at - 1];
                order[at] = j;
            }

            var (sum, isOpen) = (0.0, true);
            for (var round = 0; round < n && (isOpen || round < least); round++)
            {
                var best = isSorted ? order[round] : BestOf(p, chosen, n);
                sum += p[best];
                var within = isOpen && (float)sum <= most;
                if (!within && !(isOpen && keepsCrossing) && round >= least)
                    break;
                (chosen[best], isOpen) = (1, within);
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

    /// <summary>The same from what p was made into, whose gradient the slopes hold, p itself and the logits; null where
    /// nothing came back.</summary>
    public static void SoftmaxBack(float* slopes, float* p, float* ofP, float* ofLogits, long rows, long n)
    {
        Add(slopes, ofP, rows * n);
        SoftmaxBack(slopes, p, rows, n);
        Add(slopes, ofLogits, rows * n);
    }

    private static void Add(float* target, float* added, long count)
    {
        if (added != null)
            TensorPrimitives.Add(new Span<float>(target, (int)count), new Span<float>(added, (int)count),
                new Span<float>(target, (int)count));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Exponentiate(float* values, long count)
    {
        long j = 0;
        for (; j + Elements<float>.Count <= count; j += Elements<float>.Count)
            VectorMath.Exp(Elements<float>.Load(values + j)).Store(values + j);
        if (j < count)
            Last.Store(VectorMath.Exp(Last.Load(values + j, count - j)), values + j, count - j);
    }

    /// <summary>The largest of those whose mark is zero, of equals the first; -1 where none is.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int BestOf<M>(float* values, M* marks, int n)
        where M : unmanaged, INumberBase<M>
    {
        var best = -1;
        for (var j = 0; j < n; j++)
        {
            if (marks[j] == M.Zero && (best < 0 || IsAbove(values[j], values[best])))
                best = j;
        }

        return best;
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
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unmark(byte* present, byte* chosen, long rows, long n)
    {
        for (long i = 0; present != null && i < rows; i++, chosen += n)
        {
            for (var j = 0; j < n; j++)
                chosen[j] &= present[j];
        }
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

/// <summary>The sparse projection row by row.</summary>
internal static unsafe class SparseRows
{
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
            var sorted = work.Pointer;
            SortDown(scores, sorted, n);
            var (sum, count) = (0f, 0);
            for (var j = 0; j < n; j++)
            {
                sum += sorted[j];
                count += left + sorted[j] * (j + 1) > sum ? 1 : 0;
            }

            support[i] = Math.Max(1, count);
            sum = 0;
            for (var j = 0; j < support[i]; j++)
                sum += sorted[j];
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
            var (ofTau, ofDivisor, open) = (0f, 0f, 0);
            for (var j = 0; j < n; j++)
            {
                var above = scores[j] - tau[i];
                du[j] = above > 0 ? slopes[j] / divisor : 0;
                ofTau -= du[j];
                ofDivisor -= above > 0 ? du[j] * above : 0;
                open += above > 0 ? 1 : 0;
            }

            var share = ofTau / support[i];
            dl[i] = share - (left >= eps ? ofDivisor / divisor : 0);
            // But for rounding, those above tau are the support.
            for (var j = 0; open == support[i] && j < n; j++)
                du[j] += scores[j] > tau[i] ? share : 0;
            if (open != support[i])
                Share(scores, du, share, support[i], n, work.Pointer);
        }
    }

    // By insertion: rows are short. What is no number stands before all.
    private static void SortDown(float* values, float* sorted, int n)
    {
        if (n > SmallRows.MostInserted)
        {
            var all = new Span<float>(sorted, n);
            new Span<float>(values, n).CopyTo(all);
            all.Sort();
            all.Reverse();
            return;
        }

        for (var i = 0; i < n; i++)
        {
            var (value, j) = (values[i], i);
            for (; j > 0 && SmallRows.IsAbove(value, sorted[j - 1]); j--)
                sorted[j] = sorted[j - 1];
            sorted[j] = value;
        }
    }

    // Adds to the slopes of the largest scores, of equals the first: those that a stable sort puts in front.
    private static void Share(float* scores, float* du, float share, int count, int n, float* work)
    {
        var taken = (byte*)work;
        new Span<byte>(taken, n).Clear();
        for (var round = 0; round < count; round++)
        {
            var best = SmallRows.BestOf(scores, taken, n);
            taken[best] = 1;
            du[best] += share;
        }
    }
}
