using System.Runtime.CompilerServices;

namespace Peft.Torch.Fused;

/// <summary>Experts that were drawn for each row.</summary>
/// <remarks>Shapes: Order [U, K] int64, as they were drawn; Chosen [U, E] float32 of 0 and 1; Probabilities [U, E],
/// the softmax; Log [U], the logarithm of the order's probability, and ByLogits [U, E], its gradient. Gradient: none
/// through any.</remarks>
public readonly record struct OrderedDraws(
    Tensor Order, Tensor Chosen, Tensor Probabilities, Tensor Log, Tensor ByLogits);

public static partial class Fused
{
    /// <summary>Draws k experts of each row without replacement, by Gumbel's maximum; without uniform numbers the k
    /// most probable.</summary>
    /// <remarks>Source: ReMix, arXiv:2603.10160: <c>Q(J) = product over j of q_(i_j) / (1 - sum of those before)</c>;
    /// Gumbel top-k has its law. Shapes: logits [U, E] float32, uniform [U, E] float32 from 0 to 1 or null. Gradient:
    /// none.</remarks>
    public static OrderedDraws ordered_draws(Tensor logits, Tensor? uniform, int k)
    {
        using var off = torch.no_grad();
        if (!SmallRows.Serve(logits) || k > logits.size(1))
            return Composed.ordered_draws(logits, uniform, k);
        using var scope = torch.NewDisposeScope();
        var (z, noise) = (logits.Dense(), uniform?.Dense());
        var (rows, n) = (z.size(0), z.size(1));
        var draws = new OrderedDraws(
            torch.empty([rows, k], ScalarType.Int64), torch.zeros([rows, n], ScalarType.Float32),
            torch.empty([rows, n], ScalarType.Float32), torch.zeros([rows], ScalarType.Float32),
            torch.zeros([rows, n], ScalarType.Float32));
        DrawKernel.Run(z, noise, k, draws);
        foreach (var tensor in new[] { draws.Order, draws.Chosen, draws.Probabilities, draws.Log, draws.ByLogits })
            tensor.MoveToOuterDisposeScope();
        return draws;
    }

    /// <summary>The logarithm of the probability of drawing experts in an order, and its gradient by the logits: for
    /// each draw, one for the drawn less the softmax over what remained.</summary>
    /// <remarks>Shapes: logits [U, E] float32, order [U, K] int64 from 0 to E - 1 give [U] and [U, E]. Gradient: none.
    /// Errors: <see cref="ArgumentException"/> for an order beyond the experts.</remarks>
    public static (Tensor Log, Tensor ByLogits) order_probability(Tensor logits, Tensor order)
    {
        using var off = torch.no_grad();
        if (!SmallRows.Serve(logits) || order.dtype != ScalarType.Int64)
            return Composed.order_probability(logits, order);
        using var scope = torch.NewDisposeScope();
        if (order.size(0) != logits.size(0) || order.lt(0).logical_or(order.ge(logits.size(1))).any().ToBoolean())
            throw new ArgumentException($"an order {Shapes.Of(order)} names rows beyond logits {Shapes.Of(logits)}");
        var (log, byLogits) =
            (torch.zeros([logits.size(0)], ScalarType.Float32), torch.zeros(logits.shape, ScalarType.Float32));
        DrawKernel.Probability(logits.Dense(), order.Dense(), log, byLogits);
        return (log.MoveToOuterDisposeScope(), byLogits.MoveToOuterDisposeScope());
    }

    /// <summary>What a router's matrix gets from each sequence: <c>slopest x</c>, in float32 whatever x is
    /// in.</summary>
    /// <remarks>Shapes: slopes [B T, E] float32, x [B, T, D] give [B, E, D] float32. Gradient: none.</remarks>
    public static Tensor router_sums(Tensor slopes, Tensor x)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        if (!RouterChecks.Serve(x) || !SmallRows.Serve(slopes))
            return Composed.router_sums(slopes, x).MoveToOuterDisposeScope();
        var (rows, outer) = (x.Dense(), slopes.Dense());
        var sums = torch.empty([x.size(0), slopes.size(1), x.size(2)], ScalarType.Float32);
        if (x.dtype == ScalarType.Float32)
            SequenceSums<float>.Run(outer, rows, sums);
        else
            SequenceSums<ushort>.Run(outer, rows, sums);
        return sums.MoveToOuterDisposeScope();
    }
}

/// <summary>Draws of a few numbers a row.</summary>
internal static unsafe class DrawKernel
{
    private const long ChunkRows = 64;
    private const float Tiny = 1e-20f;

    public static void Run(Tensor logits, Tensor? uniform, int k, OrderedDraws draws)
    {
        var n = logits.size(1);
        var (z, u, p) = ((nint)TensorMemory.Of<float>(logits), (nint)TensorMemory.Of<float>(uniform),
            (nint)TensorMemory.Of<float>(draws.Probabilities));
        var (order, chosen) =
            ((nint)TensorMemory.Of<long>(draws.Order), (nint)TensorMemory.Of<float>(draws.Chosen));
        var (log, slopes) = ((nint)TensorMemory.Of<float>(draws.Log), (nint)TensorMemory.Of<float>(draws.ByLogits));
        new RowShares(logits.size(0), ChunkRows).Run((_, begin, end) =>
        {
            var (at, rows) = (begin * n, end - begin);
            SmallRows.Softmax((float*)z + at, (float*)p + at, rows, n);
            using var keys = new Scratch<float>(rows * n);
            if (u == 0)
                new Span<float>((float*)p + at, checked((int)(rows * n))).CopyTo(new(keys.Pointer, (int)(rows * n)));
            else
                Disturb((float*)z + at, (float*)u + at, keys.Pointer, rows * n);
            Choose(keys.Pointer, (float*)chosen + at, (long*)order + begin * k, rows, (int)n, k);
            Probability((float*)z + at, (long*)order + begin * k, (float*)log + begin, (float*)slopes + at,
                keys.Pointer, rows, n, k);
        });
    }

    public static void Probability(Tensor logits, Tensor order, Tensor log, Tensor byLogits)
    {
        var (n, k) = (logits.size(1), order.size(1));
        var (z, drawn) = ((nint)TensorMemory.Of<float>(logits), (nint)TensorMemory.Of<long>(order));
        var (sums, slopes) = ((nint)TensorMemory.Of<float>(log), (nint)TensorMemory.Of<float>(byLogits));
        new RowShares(logits.size(0), ChunkRows).Run((_, begin, end) =>
        {
            using var work = new Scratch<float>((end - begin) * n);
            Probability((float*)z + begin * n, (long*)drawn + begin * k, (float*)sums + begin,
                (float*)slopes + begin * n, work.Pointer, end - begin, n, k);
        });
    }

    // Logits plus Gumbel's noise.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Disturb(float* logits, float* uniform, float* keys, long count)
    {
        for (long j = 0; j < count; j++)
            keys[j] = logits[j] - MathF.Log(MathF.Max(-MathF.Log(MathF.Max(uniform[j], Tiny)), Tiny));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Choose(float* keys, float* chosen, long* order, long rows, int n, int k)
    {
        for (long i = 0; i < rows; i++, keys += n, chosen += n, order += k)
        {
            for (var round = 0; round < k; round++)
            {
                var best = SmallRows.BestOf(keys, chosen, n);
                (chosen[best], order[round]) = (1, best);
            }
        }
    }

    // Adds to log and byLogits; each draw is from what remains, whose largest logit is taken off before exponents.
    private static void Probability(
        float* logits, long* order, float* log, float* byLogits, float* work, long rows, long n, long k)
    {
        for (var draw = 0; draw < k; draw++)
        {
            Remaining(logits, order, log, work, rows, n, k, draw);
            SmallRows.Exponentiate(work, rows * n);
            Add(order + draw, log, byLogits, work, rows, n, k);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Remaining(
        float* logits, long* order, float* log, float* work, long rows, long n, long k, int draw)
    {
        for (long i = 0; i < rows; i++, logits += n, work += n, order += k)
        {
            for (long j = 0; j < n; j++)
                work[j] = logits[j];
            for (var before = 0; before < draw; before++)
                work[order[before]] = float.NegativeInfinity;
            var top = work[0];
            for (long j = 1; j < n; j++)
                top = MathF.Max(top, work[j]);
            for (long j = 0; j < n; j++)
                work[j] -= top;
            log[i] += work[order[draw]];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add(long* drawn, float* log, float* byLogits, float* work, long rows, long n, long k)
    {
        for (long i = 0; i < rows; i++, byLogits += n, work += n, drawn += k)
        {
            var sum = 0f;
            for (long j = 0; j < n; j++)
                sum += work[j];
            log[i] -= MathF.Log(sum);
            for (long j = 0; j < n; j++)
                byLogits[j] -= work[j] / sum;
            byLogits[*drawn] += 1;
        }
    }
}

/// <summary>slopest x of each sequence; a chunk of rows is widened in the cache.</summary>
/// <typeparam name="T">float, or ushort holding bfloat16.</typeparam>
internal static unsafe class SequenceSums<T>
    where T : unmanaged
{
    private const long ChunkRows = 64, Columns = 256;

    public static void Run(Tensor slopes, Tensor x, Tensor sums)
    {
        var (B, L, D, E) = (x.size(0), x.size(1), x.size(2), slopes.size(1));
        var (outer, rows, target) = ((nint)TensorMemory.Of<float>(slopes), (nint)TensorMemory.Of<T>(x),
            (nint)TensorMemory.Of<float>(sums));
        var across = (D + Columns - 1) / Columns;
        Threads.Share(B * across, tasks =>
        {
            using var wide = new Scratch<float>(typeof(T) == typeof(float) ? 0 : ChunkRows * Columns);
            while (tasks.Next(out var task))
            {
                var (b, j) = (task / across, task % across * Columns);
                var width = Math.Min(Columns, D - j);
                var from = (T*)rows + b * L * D + j;
                for (long i = 0; i < L; i += ChunkRows)
                {
                    var count = Math.Min(ChunkRows, L - i);
                    var (right, step) = Wide(from + i * D, count, width, D, wide.Pointer);
                    Gemm.Multiply(true, false, E, width, count, 1f, (float*)outer + (b * L + i) * E, E, (float*)right,
                        step, i == 0 ? 0f : 1f, (float*)target + b * E * D + j, D);
                }
            }
        });
    }

    private static (nint Rows, long Step) Wide(T* rows, long count, long width, long step, float* wide)
    {
        if (typeof(T) == typeof(float))
            return ((nint)rows, step);
        for (long i = 0; i < count; i++)
            VectorMath.Widen(rows + i * step, width, wide + i * width);
        return ((nint)wide, width);
    }
}

internal static partial class Composed
{
    public static OrderedDraws ordered_draws(Tensor logits, Tensor? uniform, int k)
    {
        var probabilities = logits.softmax(-1);
        var keys = uniform is null
            ? probabilities : logits - uniform.clamp(min: 1e-20).log().neg().clamp(min: 1e-20).log();
        var (_, sorted) = keys.sort(-1, descending: true, stable: true);
        var order = sorted.narrow(-1, 0, k);
        var chosen = torch.zeros_like(probabilities).scatter(
            -1, order, torch.ones(order.shape, ScalarType.Float32, logits.device));
        var (log, byLogits) = order_probability(logits, order);
        return new(order, chosen, probabilities, log, byLogits);
    }

    public static (Tensor Log, Tensor ByLogits) order_probability(Tensor logits, Tensor order)
    {
        var remaining = logits.detach().clone();
        var byLogits = torch.zeros_like(remaining);
        Tensor? log = null;
        for (var draw = 0; draw < order.shape[1]; draw++)
        {
            var drawn = order.narrow(1, draw, 1);                                              // [U, 1]
            var normal = remaining.logsumexp(-1, keepdim: true);
            var step = (remaining.gather(1, drawn) - normal).squeeze(1);
            log = log is null ? step : log + step;
            byLogits = byLogits - (remaining - normal).exp();
            byLogits = byLogits.scatter_add(1, drawn, torch.ones(drawn.shape, ScalarType.Float32, logits.device));
            remaining = remaining.scatter(
                1, drawn, torch.full(drawn.shape, double.NegativeInfinity, ScalarType.Float32, logits.device));
        }
        return (log!, byLogits);
    }

    public static Tensor router_sums(Tensor slopes, Tensor x) =>
        slopes.reshape(x.size(0), x.size(1), -1).transpose(1, 2).bmm(x.to(ScalarType.Float32));
}
