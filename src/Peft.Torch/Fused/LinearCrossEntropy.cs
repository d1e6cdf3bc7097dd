using System.Numerics;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>Cross-entropy of hidden Wt against targets, in blocks: the logits [M, V] never exist whole.</summary>
    /// <remarks>Shapes: hidden [M, D], weight [V, D], targets [M] int64 gives the loss of each row [M], float32
    /// (float64 for float64). Gradient: to hidden, and to weight where it requires one (then backward computes the
    /// logits again).
    /// Errors: <see cref="ArgumentException"/> when a target is not in 0..V-1: leave out rows that are not
    /// learned.</remarks>
    /// <param name="hidden">Final hidden states of the learned positions.</param>
    /// <param name="weight">The head's weight.</param>
    /// <param name="targets">The right token of each row.</param>
    /// <param name="chunk_rows">Rows computed at once; 0 chooses.</param>
    /// <param name="softcap">Logits become softcap * tanh(logits / softcap); 0 = none.</param>
    public static Tensor linear_cross_entropy(
        Tensor hidden, Tensor weight, Tensor targets, int chunk_rows = 0, double softcap = 0)
    {
        CheckLoss(hidden, weight, targets, chunk_rows, softcap);
        return LinearKernel.Serves(hidden)
            ? new LinearCrossEntropyFunction(chunk_rows, softcap).Apply(hidden, weight, targets)
            : Composed.linear_cross_entropy(hidden, weight, targets, softcap);
    }

    private static void CheckLoss(Tensor hidden, Tensor weight, Tensor targets, int chunkRows, double softcap)
    {
        if (hidden.dim() != 2 || weight.dim() != 2 || hidden.size(1) != weight.size(1))
        {
            throw new ArgumentException($"hidden {Shapes.Of(hidden)} does not meet weight {Shapes.Of(weight)}; "
                + "hidden is [M, D] and weight [V, D]");
        }
        if (hidden.dtype != weight.dtype)
            throw new ArgumentException($"hidden {hidden.dtype} and weight {weight.dtype} differ in type");
        if (targets.dim() != 1 || targets.size(0) != hidden.size(0) || targets.dtype != ScalarType.Int64)
        {
            throw new ArgumentException(
                $"targets {Shapes.Of(targets)} {targets.dtype} do not meet hidden {Shapes.Of(hidden)}; "
                + "targets are [M] of int64");
        }
        if (chunkRows < 0 || softcap < 0)
            throw new ArgumentException($"chunk_rows {chunkRows} and softcap {softcap} must not be negative");
        if (targets.numel() == 0)
            return;
        // One pass over M numbers; a target outside would read outside the logits.
        using var scope = torch.NewDisposeScope();
        var (least, most) = (targets.min().item<long>(), targets.max().item<long>());
        if (least < 0 || most >= weight.size(0))
        {
            throw new ArgumentException(
                $"targets hold {(least < 0 ? least : most)}; allowed are 0 to {weight.size(0) - 1}; "
                + "leave out positions that are not learned before calling");
        }
    }
}

/// <summary>The head with its loss on the CPU; inputs hidden, weight, targets.</summary>
internal sealed class LinearCrossEntropyFunction(long chunkRows, double softcap) : AutogradFunction
{
    private ScalarType _type;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (hidden, weight, targets) = (inputs[0]!, inputs[1]!, inputs[2]!.Dense());
        _type = hidden.dtype;
        var product = LinearKernel.ProductType(_type);
        var sum = LinearKernel.For(product).SumType;
        var losses = torch.empty([hidden.size(0)], sum);
        var lses = Needs(1) ? torch.empty([hidden.size(0)], sum) : null;
        var slopes = Needs(0) ? torch.empty(hidden.shape, product) : null;
        var (rows, words) = (LinearTensors.Dense(hidden, product), LinearTensors.Dense(weight, product));
        if (product == ScalarType.BFloat16)
            new LossKernel<ushort, float>(rows, words, targets, chunkRows, softcap).Forward(losses, lses, slopes);
        else if (product == ScalarType.Float32)
            new LossKernel<float, float>(rows, words, targets, chunkRows, softcap).Forward(losses, lses, slopes);
        else
            new LossKernel<double, double>(rows, words, targets, chunkRows, softcap).Forward(losses, lses, slopes);
        Save(Needs(1) ? [slopes, hidden, weight, targets, lses] : [slopes]);
        return [losses];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        if (gradients[0] is null)
            return [null, null, null];
        var outer = gradients[0]!.Dense();
        return
        [
            saved[0] is { } slopes ? (slopes * outer.unsqueeze(1)).As(_type) : null,
            Needs(1) ? WeightGradient(outer, saved[1]!, saved[2]!, saved[3]!, saved[4]!) : null,
            null,
        ];
    }

    private Tensor WeightGradient(Tensor outer, Tensor hidden, Tensor weight, Tensor targets, Tensor lses)
    {
        var product = LinearKernel.ProductType(_type);
        var dweight = torch.empty(weight.shape, product);
        var (rows, words) = (LinearTensors.Dense(hidden, product), LinearTensors.Dense(weight, product));
        if (product == ScalarType.BFloat16)
            new LossKernel<ushort, float>(rows, words, targets, chunkRows, softcap)
                .WeightGradient(outer, lses, dweight);
        else if (product == ScalarType.Float32)
            new LossKernel<float, float>(rows, words, targets, chunkRows, softcap).WeightGradient(outer, lses, dweight);
        else
            new LossKernel<double, double>(rows, words, targets, chunkRows, softcap)
                .WeightGradient(outer, lses, dweight);
        return dweight.As(weight.dtype);
    }
}

internal static partial class Composed
{
    /// <summary>The loss over whole logits.</summary>
    public static Tensor linear_cross_entropy(Tensor hidden, Tensor weight, Tensor targets, double softcap)
    {
        using var scope = torch.NewDisposeScope();
        var wide = hidden.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var logits = torch.nn.functional.linear(hidden, weight).to(wide);
        if (softcap > 0)
            logits = (logits / softcap).tanh() * softcap;
        return torch.nn.functional.cross_entropy(logits, targets, reduction: torch.nn.Reduction.None)
            .MoveToOuterDisposeScope();
    }
}

/// <summary>The head and its cross-entropy. Each thread takes some rows through the whole vocabulary, a block of words
/// at a time: the logits live in its cache alone, and the running maximum and sum are carried from block to block, as
/// in flash attention.</summary>
/// <typeparam name="T">What the products take: float, double, or ushort holding bfloat16.</typeparam>
/// <typeparam name="W">What logits and sums are in: float, or double for double.</typeparam>
internal sealed unsafe class LossKernel<T, W>(
    Tensor hidden, Tensor weight, Tensor targets, long chunkRows, double softcap)
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    private const long MostRows = 256, FewestRows = 32, MostWords = 1024;
    private static readonly int Lanes = RowMath<W>.Lanes;

    private readonly T* _hidden = TensorMemory.Of<T>(hidden), _weight = TensorMemory.Of<T>(weight);
    private readonly long* _targets = TensorMemory.Of<long>(targets);
    private readonly long _rows = hidden.size(0), _width = hidden.size(1), _vocabulary = weight.size(0);
    private readonly W _cap = W.CreateTruncating(softcap);
    private readonly W _square = softcap > 0 ? W.CreateTruncating(1 / (softcap * softcap)) : W.Zero;
    private readonly long _chunk = chunkRows > 0 ? Math.Min(chunkRows, MostRows)
        : Math.Clamp((hidden.size(0) - 1) / Threads.Count + 1, FewestRows, MostRows);
    private readonly long _words = Math.Min(MostWords, weight.size(0));

    /// <summary>Writes the loss of each row, where wanted log(sum(exp)) of its logits, and the gradient of its loss by
    /// its hidden state: what backward brings is one number a row, a factor of it.</summary>
    public void Forward(Tensor losses, Tensor? lses, Tensor? slopes)
    {
        var loss = TensorMemory.Of<W>(losses);
        var lse = lses is null ? null : TensorMemory.Of<W>(lses);
        var slope = slopes is null ? null : TensorMemory.Of<T>(slopes);
        Threads.Share((_rows + _chunk - 1) / _chunk, tasks =>
        {
            using var work = new LossScratch<T, W>(_chunk, RowMath<W>.Stride(_words), slope == null ? 0 : _width);
            while (tasks.Next(out var task))
                ForwardRows(task * _chunk, Math.Min(_chunk, _rows - task * _chunk), work, loss, lse, slope);
        });
    }

    private void ForwardRows(long start, long count, LossScratch<T, W> work, W* loss, W* lse, T* slope)
    {
        var step = RowMath<W>.Stride(_words);
        work.Begin(count);
        for (long word = 0; word < _vocabulary; word += _words)
        {
            var n = Math.Min(_words, _vocabulary - word);
            Logits(start, count, word, n, work.Logits, step);
            for (long i = 0; i < count; i++)
            {
                var shrink = TakeIn(work, i, n, step, _targets[start + i] - word, slope != null);
                if (slope != null && word > 0 && shrink != W.One)
                    Scale(work.Sums + i * _width, shrink);
            }
            if (slope != null)
            {
                Gemm.Multiply(false, false, count, _width, n, W.One, work.P, step, _weight + word * _width, _width,
                    word > 0 ? W.One : W.Zero, work.Sums, _width);
            }
        }
        for (long i = 0; i < count; i++)
        {
            var total = work.Top[i] + W.Log(work.Sum[i]);
            loss[start + i] = total - work.AtTarget[i];
            if (lse != null)
                lse[start + i] = total;
            if (slope != null)
                Slope(work.Sums + i * _width, work.Sum[i], work.AtTarget[i], _targets[start + i],
                    slope + (start + i) * _width);
        }
    }

    private void Logits(long start, long count, long word, long n, W* logits, long step) =>
        Gemm.Multiply(false, true, count, n, _width, W.One,
            _hidden + start * _width, _width, _weight + word * _width, _width, W.Zero, logits, step);

    // Takes one block of a row in: top and sum become those of all blocks so far; returns by how much earlier sums
    // shrank. Where a gradient is wanted, P becomes e^(logit - top), times the softcap's slope.
    private W TakeIn(LossScratch<T, W> work, long i, long n, long step, long target, bool gradient)
    {
        var row = work.Logits + i * step;
        var p = work.P + i * step;
        if (_cap > W.Zero)
            RowMath<W>.Cap(row, n, _cap);
        if (target >= 0 && target < n)
            work.AtTarget[i] = row[target];
        var tops = Vector512.Create(work.Top[i]);
        for (long j = 0; j < n; j += Lanes)
            tops = Vector512.Max(tops, RowMath<W>.Load(row, j, n, W.NegativeInfinity));
        var top = RowMath<W>.Largest(tops);
        var (shift, sums, square) = (Vector512.Create(top), Vector512<W>.Zero, Vector512.Create(_square));
        for (long j = 0; j < n; j += Lanes)
        {
            var logit = RowMath<W>.Load(row, j, n, W.NegativeInfinity);
            var e = VectorMath.Exp(logit - shift);
            sums += e;
            if (!gradient)
                continue;
            if (_cap > W.Zero)
                e *= Vector512<W>.One - square * logit * logit;
            VectorMath.Store(e, p + j);
        }
        var shrink = W.Exp(work.Top[i] - top);
        work.Top[i] = top;
        work.Sum[i] = work.Sum[i] * shrink + Vector512.Sum(sums);
        return shrink;
    }

    private void Scale(W* row, W factor)
    {
        var span = new Span<W>(row, (int)_width);
        System.Numerics.Tensors.TensorPrimitives.Multiply(span, factor, span);
    }

    // The expected row of the weight less the target's.
    private void Slope(W* sums, W sum, W atTarget, long target, T* slope)
    {
        var (inverse, factor) = (W.One / sum, W.One - atTarget * atTarget * _square);
        for (long j = 0; j < _width; j++)
            sums[j] = sums[j] * inverse - factor * VectorMath.Widen<T, W>(_weight[target * _width + j]);
        VectorMath.Store(sums, _width, slope);
    }

    /// <summary>Writes the gradient of the weight from those of the losses; the logits are computed again.</summary>
    public void WeightGradient(Tensor gradients, Tensor lses, Tensor dweight)
    {
        var (target, outer, lse) =
            ((nint)TensorMemory.Of<T>(dweight), (nint)TensorMemory.Of<W>(gradients), (nint)TensorMemory.Of<W>(lses));
        var step = RowMath<W>.Stride(_words);
        Threads.Share((_vocabulary + _words - 1) / _words, tasks =>
        {
            using var work = new LossScratch<T, W>(_chunk, step, 0);
            using var sums = new Scratch<W>(_words * _width);
            while (tasks.Next(out var task))
            {
                var (word, n) = (task * _words, Math.Min(_words, _vocabulary - task * _words));
                for (long start = 0; start < _rows; start += _chunk)
                {
                    var count = Math.Min(_chunk, _rows - start);
                    Logits(start, count, word, n, work.Logits, step);
                    for (long i = 0; i < count; i++)
                        LogitGradient(
                            work, i, n, step, _targets[start + i] - word, ((W*)lse)[start + i], ((W*)outer)[start + i]);
                    Gemm.Multiply(true, false, n, _width, count, W.One, work.P, step, _hidden + start * _width, _width,
                        start > 0 ? W.One : W.Zero, sums.Pointer, _width);
                }
                VectorMath.Store(sums.Pointer, n * _width, (T*)target + word * _width);
            }
        });
    }

    // P becomes the gradient by a row's logits.
    private void LogitGradient(LossScratch<T, W> work, long i, long n, long step, long target, W lse, W outer)
    {
        var row = work.Logits + i * step;
        if (_cap > W.Zero)
            RowMath<W>.Cap(row, n, _cap);
        var atTarget = target >= 0 && target < n ? row[target] : W.Zero;
        var (shift, factor, square) = (Vector512.Create(lse), Vector512.Create(outer), Vector512.Create(_square));
        for (long j = 0; j < n; j += Lanes)
        {
            var logit = RowMath<W>.Load(row, j, n, W.Zero);
            (factor * VectorMath.Exp(logit - shift) * (Vector512<W>.One - square * logit * logit)).Store(row + j);
        }
        if (target >= 0 && target < n)
            row[target] -= outer * (W.One - atTarget * atTarget * _square);
        VectorMath.Store(row, n, work.P + i * step);
    }
}

/// <summary>What one thread works in; P is Logits itself where the products take what sums are in.</summary>
internal sealed unsafe class LossScratch<T, W> : IDisposable
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    private readonly Scratch<W> _wide;
    private readonly Scratch<T> _narrow;

    public LossScratch(long rows, long step, long width)
    {
        _wide = new Scratch<W>(rows * (step + width + 3));
        _narrow = new Scratch<T>(sizeof(T) == sizeof(W) ? 0 : rows * step);
        Logits = _wide.Pointer;
        Sums = Logits + rows * step;
        Top = Sums + rows * width;
        Sum = Top + rows;
        AtTarget = Sum + rows;
        P = sizeof(T) == sizeof(W) ? (T*)Logits : _narrow.Pointer;
    }

    public W* Logits { get; }

    public W* Sums { get; }

    public W* Top { get; }

    public W* Sum { get; }

    public W* AtTarget { get; }

    public T* P { get; }

    /// <summary>Nothing is known of these rows yet.</summary>
    public void Begin(long rows)
    {
        new Span<W>(Top, (int)rows).Fill(W.NegativeInfinity);
        new Span<W>(Sum, (int)rows).Clear();
        new Span<W>(AtTarget, (int)rows).Clear();
    }

    public void Dispose()
    {
        _wide.Dispose();
        _narrow.Dispose();
    }
}
