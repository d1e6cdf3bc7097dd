using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

/// <summary>The sizes of a mixture, and its factor.</summary>
internal readonly record struct LowRankShape(
    long Rows, long Inputs, long Outputs, long Ranks, long Gates, double Scale);

/// <summary>What is added to a product: low [N, C] times factor.</summary>
/// <param name="Low">[N, C].</param>
/// <param name="Factor">[C, columns], or [columns, C] where transposed.</param>
/// <param name="Transposed">How the factor lies.</param>
/// <param name="Groups">Which blocks of low count; null: all.</param>
internal readonly record struct LowRankTerm(Tensor Low, Tensor Factor, bool Transposed, ExpertGroups? Groups);

/// <summary>What goes back through a mixture.</summary>
/// <param name="Input">What the gradient of the mixture's input is: dh A.</param>
/// <param name="A">[C, D], or null where none was asked for.</param>
/// <param name="B">[O, C], or null.</param>
/// <param name="Gates">[N, G], or null.</param>
internal readonly record struct LowRankGradients(LowRankTerm Input, Tensor? A, Tensor? B, Tensor? Gates);

/// <summary>How the thin products of a mixture are computed.</summary>
internal interface IExpertProducts
{
    /// <summary>h [N, C] = x At where it counts, and what the base layer's product gets added.</summary>
    LowRankTerm Forward(Tensor x, Tensor a, Tensor b, Tensor? gates, out Tensor h);

    /// <summary>From dy [N, O]: the gradients of a (where x is given), b and gates; h where one of the last two is
    /// asked for.</summary>
    LowRankGradients Backward(
        Tensor dy, Tensor? x, Tensor a, Tensor b, Tensor? gates, Tensor? h, bool needsB, bool needsGates);
}

/// <summary>Every expert for every row, as one matrix.</summary>
internal sealed class StackedExperts(LowRankShape shape, ILinearKernel kernel) : IExpertProducts
{
    /// <inheritdoc/>
    public LowRankTerm Forward(Tensor x, Tensor a, Tensor b, Tensor? gates, out Tensor h)
    {
        h = torch.empty([shape.Rows, shape.Ranks], kernel.SumType);
        var gated = torch.empty([shape.Rows, shape.Ranks], x.dtype);
        kernel.Down(shape, x, LinearTensors.Dense(a, x.dtype), GateRows(gates), h, gated);
        return new LowRankTerm(gated, LinearTensors.Dense(b, x.dtype), Transposed: true, null);
    }

    /// <inheritdoc/>
    public LowRankGradients Backward(
        Tensor dy, Tensor? x, Tensor a, Tensor b, Tensor? gates, Tensor? h, bool needsB, bool needsGates)
    {
        var gateRows = GateRows(gates);
        var dh = torch.empty([shape.Rows, shape.Ranks], dy.dtype);
        var (gated, db) = ((Tensor?)null, (Tensor?)null);
        if (needsB)
        {
            gated = torch.empty_like(dh);
            kernel.Gate(shape, h!, gateRows, gated);
            db = torch.empty(b.shape, kernel.SumType);
        }
        var da = x is null ? null : torch.empty(a.shape, kernel.SumType);
        var dgates = needsGates ? torch.empty([shape.Rows, shape.Gates], kernel.SumType) : null;
        kernel.LowRankBackward(
            shape, dy, LinearTensors.Dense(b, dy.dtype), gateRows, h, gated, x, dh, dgates, db, da);
        return new LowRankGradients(
            new LowRankTerm(dh, LinearTensors.Dense(a, dy.dtype), Transposed: false, null), da, db,
            dgates);
    }

    private Tensor? GateRows(Tensor? gates) =>
        gates is null ? null : LinearTensors.Dense(gates.reshape(-1, gates.size(-1)), kernel.SumType);
}

/// <summary>The thin products of a mixture, a share of the rows on each thread, where a chunk of rows stays in the
/// cache between them.</summary>
/// <typeparam name="T">What the products take: float, double, or ushort holding bfloat16.</typeparam>
/// <typeparam name="W">What sums are in: float, or double for double.</typeparam>
internal sealed unsafe class LowRankKernel<T, W>(long rows, long inputs, long outputs, long ranks, long gates, W scale)
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    private const long ChunkRows = 128;

    private readonly RowShares _shares = new(rows, ChunkRows);

    /// <summary>h [N, C] = x At, and gated [N, C] = scale * h o gates as the up products take it.</summary>
    public void Down(T* x, T* a, W* gateRows, W* h, T* gated) => _shares.Run((_, begin, end) =>
    {
        Gemm.Multiply(false, true, end - begin, ranks, inputs, W.One,
            x + begin * inputs, inputs, a, inputs, W.Zero, h + begin * ranks, ranks);
        Gate(h, gateRows, gated, begin, end);
    });

    /// <summary>scale * h o gates again, where backward kept h alone.</summary>
    public void Gate(W* h, W* gateRows, T* gated) =>
        _shares.Run((_, begin, end) => Gate(h, gateRows, gated, begin, end));

    /// <summary>From dy [N, O]: the gradient of h [N, C] in dh as products take it, and where the pointers are not null
    /// that of the gates [N, G], of b [O, C] and of a [C, D], whose input is x.</summary>
    public void Backward(T* dy, T* b, W* gateRows, W* h, T* gated, T* x, T* dh, W* dgates, W* db, W* da)
    {
        using var partial = new Scratch<W>(
            _shares.Count * ranks * ((db != null ? outputs : 0) + (da != null ? inputs : 0)));
        using var wide = new Scratch<W>(rows * ranks);
        var (ups, downs) =
            ((nint)partial.Pointer, (nint)(partial.Pointer + (db != null ? _shares.Count * ranks * outputs : 0)));
        var gradients = wide.Pointer;
        _shares.Run((share, begin, end) =>
        {
            W* up = (W*)ups + share * ranks * outputs, down = (W*)downs + share * ranks * inputs;
            for (var i = begin; i < end; i += ChunkRows)
            {
                var (count, beta) = (Math.Min(ChunkRows, end - i), i == begin ? W.Zero : W.One);
                Gemm.Multiply(false, false, count, ranks, outputs, scale,
                    dy + i * outputs, outputs, b, ranks, W.Zero, gradients + i * ranks, ranks);
                if (dgates != null)
                    GateGradients(gradients, h, dgates, i, i + count);
                Gate(gradients, gateRows, dh, i, i + count, W.One);
                if (db != null)
                {
                    Gemm.Multiply(true, false, outputs, ranks, count, W.One,
                        dy + i * outputs, outputs, gated + i * ranks, ranks, beta, up, ranks);
                }
                if (da != null)
                {
                    Gemm.Multiply(true, false, ranks, inputs, count, W.One,
                        dh + i * ranks, ranks, x + i * inputs, inputs, beta, down, inputs);
                }
            }
        });
        _shares.Sum((W*)ups, ranks * outputs, db);
        _shares.Sum((W*)downs, ranks * inputs, da);
    }

    private void Gate(W* h, W* gateRows, T* gated, long begin, long end) => Gate(h, gateRows, gated, begin, end, scale);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Gate(W* h, W* gateRows, T* gated, long begin, long end, W factor)
    {
        var width = ranks / gates;
        var row = stackalloc W[(int)ranks];
        for (var i = begin; i < end; i++)
        {
            var source = h + i * ranks;
            for (long c = 0, g = 0; c < ranks; c += width, g++)
                Scale(source + c, gateRows == null ? factor : factor * gateRows[i * gates + g], row + c, width);
            VectorMath.Store(row, ranks, gated + i * ranks);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void GateGradients(W* gradients, W* h, W* dgates, long begin, long end)
    {
        var width = ranks / gates;
        for (var i = begin; i < end; i++)
        {
            for (long c = i * ranks, g = i * gates; g < (i + 1) * gates; c += width, g++)
                dgates[g] = Dot(gradients + c, h + c, width);
        }
    }

    private static void Scale(W* from, W factor, W* to, long count)
    {
        long j = 0;
        for (var factors = Vector256.Create(factor); j + Vector256<W>.Count <= count; j += Vector256<W>.Count)
            (Vector256.Load(from + j) * factors).Store(to + j);
        for (; j < count; j++)
            to[j] = from[j] * factor;
    }

    private static W Dot(W* left, W* right, long count)
    {
        var (sum, j) = (W.Zero, 0L);
        for (; j + Vector256<W>.Count <= count; j += Vector256<W>.Count)
            sum += Vector256.Sum(Vector256.Load(left + j) * Vector256.Load(right + j));
        for (; j < count; j++)
            sum += left[j] * right[j];
        return sum;
    }
}

/// <summary>Experts that have one down projection together: x At is computed once, and each expert's gate weighs it
/// before that expert's up projection.</summary>
internal sealed class OneDownExperts(LowRankShape shape, ILinearKernel kernel) : IExpertProducts
{
    private readonly long _rank = shape.Ranks / shape.Gates;

    /// <summary>Whether a is that of one expert while b is that of all.</summary>
    public static bool Serves(Tensor a, Tensor b) => a.size(0) != b.size(1);

    /// <inheritdoc/>
    public LowRankTerm Forward(Tensor x, Tensor a, Tensor b, Tensor? gates, out Tensor h)
    {
        h = torch.empty([shape.Rows, _rank], kernel.SumType);
        var plain = torch.empty([shape.Rows, _rank], x.dtype);
        kernel.Down(
            shape with { Ranks = _rank, Gates = 1, Scale = 1 }, x, LinearTensors.Dense(a, x.dtype), null, h, plain);
        return new LowRankTerm(
            Gated(h, gates!).As(x.dtype), LinearTensors.Dense(b, x.dtype), Transposed: true, null);
    }

    /// <inheritdoc/>
    public LowRankGradients Backward(
        Tensor dy, Tensor? x, Tensor a, Tensor b, Tensor? gates, Tensor? h, bool needsB, bool needsGates)
    {
        var heads = torch.empty([shape.Rows, shape.Ranks], dy.dtype);                    // scale * dy B
        var gated = needsB ? Gated(h!, gates!).As(dy.dtype) : null;
        var db = needsB ? torch.empty(b.shape, kernel.SumType) : null;
        kernel.LowRankBackward(
            shape with { Gates = 1 }, dy, LinearTensors.Dense(b, dy.dtype), null, null, gated, null, heads, null, db,
            null);
        var each = heads.As(kernel.SumType).view(shape.Rows, shape.Gates, _rank);
        var dgates = needsGates ? (each * h!.unsqueeze(1)).sum(-1) : null;
        var dh = (each * GateRows(gates!).unsqueeze(2)).sum(1).As(dy.dtype);             // [N, R]
        var da = x is null ? null : LinearTensors.WeightGradient(kernel, dh, x, a);
        return new LowRankGradients(
            new LowRankTerm(dh, LinearTensors.Dense(a, dy.dtype), Transposed: false, null), da, db,
            dgates);
    }

    // [N, C], as the up products take it.
    private Tensor Gated(Tensor h, Tensor gates) =>
        (h.unsqueeze(1) * (GateRows(gates) * shape.Scale).unsqueeze(2)).view(shape.Rows, shape.Ranks);

    private Tensor GateRows(Tensor gates) =>
        LinearTensors.Dense(gates.reshape(-1, gates.size(-1)), kernel.SumType);
}
