using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>The sparse projection of scores u onto the simplex: <c>p = max(u - tau, 0) / max(1 - lambda, eps)</c>,
    /// tau such that p sums to 1.</summary>
    /// <remarks>Source: LD-MoLE, arXiv:2509.25684: with u sorted downwards, <c>k = max{j : 1 - lambda + j u_(j) >
    /// sum of the first j}</c> and <c>tau = (sum of the first k - 1 + lambda) / k</c>. Shapes: scores [N, E], sparsity
    /// lambda [N] gives gates [N, E] and which are open, bool [N, E]; a score that meets tau but for rounding is open
    /// with a gate of zero. Gradient: to both; k is constant; first derivatives only.</remarks>
    public static (Tensor Gates, Tensor Open) sparsegen(Tensor scores, Tensor sparsity, double eps)
    {
        if (!SmallRows.Serve(scores) || sparsity.dtype != ScalarType.Float32)
            return Composed.sparsegen(scores, sparsity, eps);
        var function = new SparsegenFunction((float)eps);
        return (function.Apply(scores, sparsity), function.Open!);
    }

    /// <summary>The sparsity that a network of one hidden layer predicts for each row:
    /// <c>lambda = ln sigmoid(relu(x int + bias) outt + bias) + 1 - eps</c>.</summary>
    /// <remarks>Source: LD-MoLE, arXiv:2509.25684; eshentw/LD-MoLE <c>sparsegen.py</c>. Shapes: x [.., D], first [H, D]
    /// with bias [H], second [1, H] with bias [1], all of them float32, give [N] float32, N the product of the leading
    /// dimensions. Types: the products with <paramref name="first"/> are of x's type and summed in float32; all else is
    /// float32. Gradient: to all five; first derivatives only.</remarks>
    public static Tensor predicted_sparsity(
        Tensor x, Tensor first, Tensor firstBias, Tensor second, Tensor secondBias, double eps)
    {
        RouterChecks.Check(x, first);
        return RouterChecks.Serve(x) && Kernels.Serve(x)
            ? new PredictedSparsityFunction((float)(1 - eps)).Apply(x, first, firstBias, second, secondBias)
            : Composed.predicted_sparsity(x, first, firstBias, second, secondBias, eps);
    }
}

/// <summary>The sparse projection on the CPU; inputs scores, sparsity.</summary>
internal sealed unsafe class SparsegenFunction(float eps) : AutogradFunction
{
    private const long ChunkRows = 64;

    /// <summary>The experts that are open, bool [N, E]; of the caller's scope.</summary>
    public Tensor? Open { get; private set; }

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (scores, sparsity) = (inputs[0]!.Dense(), inputs[1]!.Dense());
        var (rows, n) = (scores.size(0), scores.size(1));
        var (gates, open) = (torch.empty([rows, n], ScalarType.Float32), torch.empty([rows, n], ScalarType.Bool));
        // Tau and the size of the support of each row.
        var (tau, support) = (torch.empty([rows], ScalarType.Float32), torch.empty([rows], ScalarType.Int32));
        var (u, l, g, o) = ((nint)TensorMemory.Of<float>(scores), (nint)TensorMemory.Of<float>(sparsity),
            (nint)TensorMemory.Of<float>(gates), (nint)TensorMemory.Of<byte>(open));
        var (t, s) = ((nint)TensorMemory.Of<float>(tau), (nint)TensorMemory.Of<int>(support));
        new RowShares(rows, ChunkRows).Run((_, begin, end) => SparseRows.Project(
            (float*)u + begin * n, (float*)l + begin, eps, (float*)g + begin * n, (byte*)o + begin * n,
            (float*)t + begin, (int*)s + begin, end - begin, (int)n));
        Open = open.MoveToOuterDisposeScope();
        Save(scores, sparsity, tau, support);
        return [gates];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        if (gradients[0] is null)
            return [null, null];
        var (slopes, scores, sparsity) = (gradients[0]!.Dense(), saved[0]!, saved[1]!);
        var (rows, n) = (scores.size(0), scores.size(1));
        var (du, dl) = (torch.empty([rows, n], ScalarType.Float32), torch.empty([rows], ScalarType.Float32));
        var (d, u, l) = ((nint)TensorMemory.Of<float>(slopes), (nint)TensorMemory.Of<float>(scores),
            (nint)TensorMemory.Of<float>(sparsity));
        var (t, s) = ((nint)TensorMemory.Of<float>(saved[2]), (nint)TensorMemory.Of<int>(saved[3]));
        var (ofScores, ofSparsity) = ((nint)TensorMemory.Of<float>(du), (nint)TensorMemory.Of<float>(dl));
        new RowShares(rows, ChunkRows).Run((_, begin, end) => SparseRows.ProjectBack(
            (float*)d + begin * n, (float*)u + begin * n, (float*)l + begin, eps, (float*)t + begin, (int*)s + begin,
            (float*)ofScores + begin * n, (float*)ofSparsity + begin, end - begin, (int)n));
        return [du, dl];
    }
}

/// <summary>The network of the sparsity on the CPU; inputs x, first, its bias, second, its bias.</summary>
internal sealed unsafe class PredictedSparsityFunction(float offset) : ScoringFunction
{
    // How many hidden numbers were above zero.
    private long _active;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, first) = (inputs[0]!, inputs[1]!);
        var (rows, hidden) = (x.numel() / x.size(-1), first.size(0));
        var kept = Recorded ? torch.empty([rows, hidden], x.dtype) : null;
        var (score, sparsity) =
            (torch.empty([rows], ScalarType.Float32), torch.empty([rows], ScalarType.Float32));
        _active = Kernel(x, first, inputs[2]!, inputs[3]!).Forward(
            kept, inputs[4]!.to(ScalarType.Float32).item<float>(), offset, score, sparsity);
        Save(x, first, inputs[2], inputs[3], kept, score);
        return [sparsity];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        if (gradients[0] is null)
            return [null, null, null, null, null];
        var (x, first, second) = (saved[0]!, saved[1]!, saved[3]!);
        var dx = InputGradient(x);
        var before = Needs(1) ? LeftSoFar(first) : null;
        var dfirst = Needs(1) ? before ?? torch.empty(first.shape, ScalarType.Float32) : null;
        var (dbias, dsecond) =
            (torch.empty([first.size(0)], ScalarType.Float32), torch.empty(second.shape, ScalarType.Float32));
        // Of the score before ln sigmoid.
        using var slopes = gradients[0]!.Dense() * (-saved[5]!).sigmoid();
        Kernel(x, first, saved[2]!, second).Backward(
            saved[4]!, _active, slopes, dx?.Target, dx is { Adds: true }, dfirst, before is not null, dbias, dsecond);
        return [
            dx?.Target, before is null ? Leave(first, dfirst) : null, dbias, dsecond, slopes.sum(0L, keepdim: true)];
    }

    private static ISparsityKernel Kernel(Tensor x, Tensor first, Tensor bias, Tensor second)
    {
        var (rows, factors) = (LinearTensors.Rows(x, x.dtype), LinearTensors.Dense(first, x.dtype));
        return x.dtype == ScalarType.Float32
            ? new SparsityKernel<float>(rows, factors, bias.Dense(), second.Dense())
            : new SparsityKernel<ushort>(rows, factors, bias.Dense(), second.Dense());
    }
}

/// <summary>What the network of the sparsity needs of its input's type.</summary>
internal interface ISparsityKernel
{
    /// <summary>Scores [N] and their sparsity [N]; what the hidden layer gave [N, H] is kept where asked, and how much
    /// of it is above zero returned.</summary>
    long Forward(Tensor? kept, float bias, float offset, Tensor scores, Tensor sparsity);

    /// <summary>All gradients from those of the scores; null where no one asks for them. Those of x and first may be
    /// added to what is there.</summary>
    void Backward(
        Tensor kept, long active, Tensor slopes, Tensor? dx, bool adds, Tensor? dfirst, bool addsFirst, Tensor dbias,
        Tensor dsecond);
}

/// <summary>The products of the network, a share of the rows on each thread, a chunk of them in the cache between its
/// layers. Where few hidden numbers are above zero, which is how the network begins, gradients are made of those
/// alone.</summary>
/// <typeparam name="T">float, or ushort holding bfloat16.</typeparam>
internal sealed unsafe class SparsityKernel<T>(Tensor x, Tensor first, Tensor bias, Tensor second) : ISparsityKernel
    where T : unmanaged
{
    private const long ChunkRows = 256, Columns = 384, Units = 32;
    private const int Step = Elements<T>.Count;

    // Of how many hidden numbers one is above zero at most, where a product of all of them takes as long.
    private static readonly long _few = typeof(T) == typeof(float) ? 8 : 16;

    private readonly long _rows = x.size(0), _width = x.size(1), _hidden = first.size(0);
    private readonly T* _x = TensorMemory.Of<T>(x), _first = TensorMemory.Of<T>(first);
    private readonly float* _bias = TensorMemory.Of<float>(bias), _second = TensorMemory.Of<float>(second);
    private readonly RowShares _shares = new(x.size(0), ChunkRows);

    /// <inheritdoc/>
    public long Forward(Tensor? kept, float bias, float offset, Tensor scores, Tensor sparsity)
    {
        long active = 0;
        var (k, s, l) = ((nint)TensorMemory.Of<T>(kept), (nint)TensorMemory.Of<float>(scores),
            (nint)TensorMemory.Of<float>(sparsity));
        _shares.Run((_, begin, end) =>
        {
            using var sums = new Scratch<float>(ChunkRows * _hidden);
            long above = 0;
            for (var i = begin; i < end; i += ChunkRows)
            {
                var count = Math.Min(ChunkRows, end - i);
                Gemm.Multiply(false, true, count, _hidden, _width, 1f, _x + i * _width, _width, _first, _width, 0f,
                    sums.Pointer, _hidden);
                for (var r = i; r < i + count; r++)
                {
                    var score = bias + Score(
                        sums.Pointer + (r - i) * _hidden, k == 0 ? null : (T*)k + r * _hidden, ref above);
                    ((float*)s)[r] = score;
                    ((float*)l)[r] = offset + (float)(
                        Math.Min(score, 0) - Math.Log(1 + Math.Exp(-Math.Abs((double)score))));
                }
            }
            Interlocked.Add(ref active, above);
        });
        return active;
    }

    /// <inheritdoc/>
    public void Backward(
        Tensor kept, long active, Tensor slopes, Tensor? dx, bool adds, Tensor? dfirst, bool addsFirst, Tensor dbias,
        Tensor dsecond)
    {
        var areFew = active <= _rows * _hidden / _few;
        using var inner = new Scratch<T>(_rows * _hidden);
        // Of each part the sums of the bias, then those of second.
        using var partial = new Scratch<float>((_shares.Count + 1) * 2 * _hidden);
        var (hidden, vectors) = ((nint)inner.Pointer, (nint)partial.Pointer);
        var (k, s, inputs) = ((nint)TensorMemory.Of<T>(kept), (nint)TensorMemory.Of<float>(slopes),
            (nint)TensorMemory.Of<T>(dx));
        _shares.Run((share, begin, end) =>
        {
            using var wide = new Scratch<float>(
                typeof(T) == typeof(float) || inputs == 0 ? 0 : (areFew ? 1 : ChunkRows) * _width);
            var sums = (float*)vectors + share * 2 * _hidden;
            new Span<float>(sums, checked((int)(2 * _hidden))).Clear();
            for (var i = begin; i < end; i += ChunkRows)
            {
                var count = Math.Min(ChunkRows, end - i);
                for (var r = i; r < i + count; r++)
                    Slopes((T*)k + r * _hidden, ((float*)s)[r], (T*)hidden + r * _hidden, sums);
                if (inputs != 0 && areFew)
                    ActiveInputs((T*)hidden + i * _hidden, count, wide.Pointer, (T*)inputs + i * _width, adds);
                else if (inputs != 0)
                    Inputs((T*)hidden + i * _hidden, count, wide.Pointer, (T*)inputs + i * _width, adds);
            }
        });
        if (dfirst is not null && areFew)
            ActiveFirst((T*)hidden, TensorMemory.Of<float>(dfirst), addsFirst);
        else if (dfirst is not null)
            First((T*)hidden, TensorMemory.Of<float>(dfirst), addsFirst ? 1f : 0f);
        var both = partial.Pointer + _shares.Count * 2 * _hidden;
        _shares.Sum(partial.Pointer, 2 * _hidden, both);
        new Span<float>(both, (int)_hidden).CopyTo(new(TensorMemory.Of<float>(dbias), (int)_hidden));
        new Span<float>(both + _hidden, (int)_hidden).CopyTo(new(TensorMemory.Of<float>(dsecond), (int)_hidden));
    }

    // A share of the columns on each thread: sums over all rows, and none of another thread to add.
    private void First(T* inner, float* target, float beta)
    {
        var (hidden, goal) = ((nint)inner, (nint)target);
        Threads.Share((_width + Columns - 1) / Columns, tasks =>
        {
            while (tasks.Next(out var task))
            {
                var j = task * Columns;
                Gemm.Multiply(true, false, _hidden, Math.Min(Columns, _width - j), _rows, 1f, (T*)hidden, _hidden,
                    _x + j, _width, beta, (float*)goal + j, _width);
            }
        });
    }

    private void Inputs(T* inner, long count, float* wide, T* goal, bool adds)
    {
        var isInPlace = typeof(T) == typeof(float);
        var product = isInPlace ? (float*)goal : wide;
        Gemm.Multiply(
            false, false, count, _width, _hidden, 1f, inner, _hidden, _first, _width, isInPlace && adds ? 1f : 0f,
            product, _width);
        if (!isInPlace)
            VectorMath.Finish(product, count * _width, goal, adds);
    }

    // Some units on each thread: each sums over all rows, in their order.
    private void ActiveFirst(T* inner, float* target, bool adds)
    {
        var (hidden, goal) = ((nint)inner, (nint)target);
        Threads.Share((_hidden + Units - 1) / Units, tasks =>
        {
            while (tasks.Next(out var task))
            {
                var (from, to) = (task * Units, Math.Min(_hidden, (task + 1) * Units));
                if (!adds)
                    new Span<float>((float*)goal + from * _width, checked((int)((to - from) * _width))).Clear();
                for (long r = 0; r < _rows; r++)
                    AddActive((T*)hidden + r * _hidden, from, to, _x + r * _width, 0, (float*)goal, _width);
            }
        });
    }

    private void ActiveInputs(T* inner, long count, float* wide, T* goal, bool adds)
    {
        var isInPlace = typeof(T) == typeof(float);
        for (long r = 0; r < count; r++)
        {
            var row = isInPlace ? (float*)(goal + r * _width) : wide;
            if (!isInPlace || !adds)
                new Span<float>(row, (int)_width).Clear();
            if (AddActive(inner + r * _hidden, 0, _hidden, _first, _width, row, 0) is var any && isInPlace)
                continue;
            if (any || !adds)
                VectorMath.Finish(row, _width, goal + r * _width, adds);
        }
    }

    // For each unit from .. to of a row that is not zero: its target += its number times its source. Whether there is
    // any.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private bool AddActive(T* inner, long from, long to, T* source, long ofSource, float* target, long ofTarget)
    {
        var any = false;
        for (var j = from; j < to; j += Step)
        {
            var numbers = to - j >= Step ? Whole.Load(inner + j, Step) : Last.Load(inner + j, to - j);
            var idle = Vector512.Equals(numbers, Vector512<float>.Zero).ExtractMostSignificantBits();
            for (var active = ~idle & ((1UL << Step) - 1); active != 0; active &= active - 1)
            {
                var unit = j + BitOperations.TrailingZeroCount(active);
                Add(VectorMath.Widen<T, float>(inner[unit]), source + unit * ofSource, target + unit * ofTarget);
                any = true;
            }
        }
        return any;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Add(float number, T* source, float* target)
    {
        var factor = Vector512.Create(number);
        long j = 0;
        for (; j + Step <= _width; j += Step)
            Add<Whole>(factor, source + j, target + j, Step);
        if (j < _width)
            Add<Last>(factor, source + j, target + j, _width - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add<P>(Vector512<float> factor, T* source, float* target, long left)
        where P : IPart =>
        P.Store(Vector512.FusedMultiplyAdd(factor, P.Load(source, left), P.Load(target, left)), target, left);

    // relu(sums + bias) . second, and the first factor kept; how many are above zero is counted.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private float Score(float* sums, T* kept, ref long above)
    {
        var score = Vector512<float>.Zero;
        long j = 0;
        for (; j + Step <= _hidden; j += Step)
            score = Activate<Whole>(sums + j, j, kept, Step, score, ref above);
        if (j < _hidden)
            score = Activate<Last>(sums + j, j, kept, _hidden - j, score, ref above);
        return Vector512.Sum(score);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector512<float> Activate<P>(
        float* sums, long j, T* kept, long left, Vector512<float> score, ref long above)
        where P : IPart
    {
        var active = Vector512.Max(P.Load(sums, left) + P.Load(_bias + j, left), Vector512<float>.Zero);
        above += BitOperations.PopCount(
            Vector512.GreaterThan(active, Vector512<float>.Zero).ExtractMostSignificantBits());
        if (kept != null)
            P.Store(active, kept + j, left);
        return Vector512.FusedMultiplyAdd(active, P.Load(_second + j, left), score);
    }

    // The gradient of one row of the hidden layer; of its bias and of second into sums.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Slopes(T* kept, float slope, T* inner, float* sums)
    {
        var slopes = Vector512.Create(slope);
        long j = 0;
        for (; j + Step <= _hidden; j += Step)
            Slope<Whole>(kept + j, slopes, inner + j, sums + j, j, Step);
        if (j < _hidden)
            Slope<Last>(kept + j, slopes, inner + j, sums + j, j, _hidden - j);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Slope<P>(T* kept, Vector512<float> slope, T* inner, float* sums, long j, long left)
        where P : IPart
    {
        var active = P.Load(kept, left);
        var back = Vector512.ConditionalSelect(
            Vector512.GreaterThan(active, Vector512<float>.Zero), slope * P.Load(_second + j, left),
            Vector512<float>.Zero);
        P.Store(back, inner, left);
        P.Store(P.Load(sums, left) + back, sums, left);
        P.Store(Vector512.FusedMultiplyAdd(slope, active, P.Load(sums + _hidden, left)), sums + _hidden, left);
    }
}

internal static partial class Composed
{
    private const double SparsegenRounding = 1e-6;

    public static (Tensor Gates, Tensor Open) sparsegen(Tensor scores, Tensor sparsity, double eps)
    {
        var left = (1 - sparsity).unsqueeze(-1);                                               // [N, 1]
        var (sorted, _) = scores.sort(-1, descending: true, stable: true);
        var sums = sorted.cumsum(-1);                                                          // [N, E]
        var place = torch.arange(scores.shape[^1], scores.dtype, scores.device) + 1;
        var support = (left + sorted * place).gt(sums).detach().to(scores.dtype).sum(-1, keepdim: true).clamp(min: 1);
        var tau = (sums.gather(-1, support.to(torch.int64) - 1) - left) / support;             // [N, 1]
        var above = scores - tau;
        return (above.relu() / left.clamp(min: eps), above.detach().gt(-SparsegenRounding));
    }

    public static Tensor predicted_sparsity(
        Tensor x, Tensor first, Tensor firstBias, Tensor second, Tensor secondBias, double eps)
    {
        var rows = x.reshape(-1, first.size(1)).to(first.dtype);
        var hidden = torch.nn.functional.linear(rows, first, firstBias).relu();
        var score = torch.nn.functional.linear(hidden, second, secondBias).reshape(-1);        // [N]
        return score.clamp(max: 0) - score.abs().neg().exp().log1p() + (1 - eps);
    }
}
