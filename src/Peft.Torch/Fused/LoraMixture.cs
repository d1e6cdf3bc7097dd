using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>The one mixture operation: x Wt + bias + scale * ((loraInput At) o gates) Bt.</summary>
    /// <remarks>Shapes: x [.., D], weight [O, D], bias [O], a [C, D], b [O, C], gates [.., G] with one row for each row
    /// of x and C a multiple of G (gate g multiplies columns g * C / G and on) gives [.., O]. Types: a, b and gates may
    /// be float32 beside reduced x and weight. Gradient: to every input that requires one; first derivatives only.
    /// Where b is zero the result is that of <see cref="linear"/>, bit for bit.
    /// Errors: <see cref="ArgumentException"/> when shapes do not meet.</remarks>
    /// <param name="x">Input of the base layer.</param>
    /// <param name="weight">The base layer's weight.</param>
    /// <param name="bias">The base layer's bias.</param>
    /// <param name="a">Down projections of all experts, stacked.</param>
    /// <param name="b">Up projections of all experts, side by side.</param>
    /// <param name="gates">Gates; null means 1.</param>
    /// <param name="scale">Factor of the mixture's part.</param>
    /// <param name="loraInput">Input of the mixture where it is not x (x after dropout).</param>
    public static Tensor lora_mixture_linear(Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b,
        Tensor? gates, double scale, Tensor? loraInput = null)
    {
        LinearChecks.Check(x, weight, bias, a, b, gates, loraInput);
        return LinearKernel.Serves(x)
            ? new LoraMixtureFunction(scale).Apply(x, weight, bias, a, b, gates, loraInput)
            : Composed.lora_mixture_linear(x, weight, bias, a, b, gates, scale, loraInput);
    }
}

/// <summary>The mixture operation on the CPU; inputs x, weight, bias, a, b, gates, loraInput.</summary>
internal sealed class LoraMixtureFunction(double scale) : AutogradFunction
{
    private const int X = 0, Weight = 1, Bias = 2, A = 3, B = 4, Gates = 5, LoraInput = 6, Count = 7;
    private long[] _shape = [];
    private bool _split;
    private LowRankShape _ranks;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight, a, b, gates, loraInput) =
            (inputs[X]!, inputs[Weight]!, inputs[A]!, inputs[B]!, inputs[Gates], inputs[LoraInput]);
        var type = LinearKernel.ProductType(x.dtype);
        var kernel = LinearKernel.For(type);
        (_shape, _split) = (x.shape, loraInput is not null);
        var rows = LinearTensors.Rows(x, type);
        _ranks = new LowRankShape(rows.size(0), rows.size(1), weight.size(0), a.size(0), gates?.size(-1) ?? 1, scale);
        var h = torch.empty([_ranks.Rows, _ranks.Ranks], kernel.SumType);
        var gated = torch.empty([_ranks.Rows, _ranks.Ranks], type);
        kernel.Down(
            _ranks, loraInput is null ? rows : LinearTensors.Rows(loraInput, type), LinearTensors.Dense(a, type),
            GateRows(gates, kernel), h, gated);
        var y = torch.empty([.. _shape[..^1], weight.size(0)], type);
        kernel.Forward(
            rows, LinearTensors.Dense(weight, type), inputs[Bias]?.As(kernel.SumType), gated,
            LinearTensors.Dense(b, type), y);
        // The input is kept only for the gradients that are sums over rows of it.
        Save(Needs(Weight) || (Needs(A) && !_split) ? x : null, weight, a, b, gates, Needs(A) ? loraInput : null,
            Needs(B) || Needs(Gates) ? h : null);
        return [y.As(x.dtype)];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var result = new Tensor?[Count];
        if (gradients[0] is null)
            return result;
        var (x, weight, a) = (saved[X], saved[Weight]!, saved[A - 1]!);
        var type = LinearKernel.ProductType(weight.dtype);
        var kernel = LinearKernel.For(type);
        var dy = LinearTensors.Rows(gradients[0]!, type);
        var dh = Needs(Gates) || Needs(A) || Needs(B) || Needs(LoraInput) || (Needs(X) && !_split)
            ? LowRankBackward(kernel, dy, saved, result) : null;
        if (Needs(X))
        {
            var dx = torch.empty(_shape, type);
            kernel.Backward(
                dy, LinearTensors.Dense(weight, type), _split ? null : dh, LinearTensors.Dense(a, type), dx);
            result[X] = dx.As(weight.dtype);
        }
        if (Needs(LoraInput))
        {
            var dx = torch.empty([_ranks.Rows, _ranks.Inputs], type);
            kernel.Product(dh!, false, LinearTensors.Dense(a, type), dx);
            result[LoraInput] = dx.As(weight.dtype).view(_shape);
        }
        if (Needs(Weight))
            result[Weight] = LinearTensors.WeightGradient(kernel, dy, LinearTensors.Rows(x!, type), weight);
        if (Needs(Bias))
            result[Bias] = dy.sum(0, type: kernel.SumType).As(weight.dtype);
        return result;
    }

    // The gradients of a, b and gates; returns that of h.
    private Tensor LowRankBackward(ILinearKernel kernel, Tensor dy, Tensor?[] saved, Tensor?[] result)
    {
        var (x, a, b, gates, loraInput, h) = (saved[0], saved[2]!, saved[3]!, saved[4], saved[5], saved[6]);
        var gateRows = GateRows(gates, kernel);
        var dh = torch.empty([_ranks.Rows, _ranks.Ranks], dy.dtype);
        var (gated, db, da, dgates) = ((Tensor?)null, (Tensor?)null, (Tensor?)null, (Tensor?)null);
        if (Needs(B))
        {
            gated = torch.empty_like(dh);
            kernel.Gate(_ranks, h!, gateRows, gated);
            db = torch.empty([_ranks.Ranks, _ranks.Outputs], kernel.SumType);
        }
        if (Needs(A))
            da = torch.empty(a.shape, kernel.SumType);
        if (Needs(Gates))
            dgates = torch.empty([_ranks.Rows, _ranks.Gates], kernel.SumType);
        var input = Needs(A) ? LinearTensors.Rows((_split ? loraInput : x)!, dy.dtype) : null;
        kernel.LowRankBackward(
            _ranks, dy, LinearTensors.Dense(b, dy.dtype), gateRows, h, gated, input, dh, dgates, db, da);
        result[A] = da?.As(a.dtype);
        result[B] = db?.t().As(b.dtype).Dense();
        result[Gates] = dgates?.As(gates!.dtype).view(gates.shape);
        return dh;
    }

    private static Tensor? GateRows(Tensor? gates, ILinearKernel kernel) =>
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
    /// that of the gates [N, G], of b [C, O] (transposed) and of a [C, D], whose input is x.</summary>
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
                    Gemm.Multiply(true, false, ranks, outputs, count, W.One,
                        gated + i * ranks, ranks, dy + i * outputs, outputs, beta, up, outputs);
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

internal static partial class Composed
{
    public static Tensor lora_mixture_linear(
        Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b, Tensor? gates, double scale,
        Tensor? loraInput)
    {
        using var scope = torch.NewDisposeScope();
        var y = linear(x, weight, bias);
        var h = torch.nn.functional.linear(loraInput ?? x, a.to(x.dtype));
        if (gates is not null)
        {
            var (G, C) = (gates.size(-1), a.size(0));
            long[] shape = [.. h.shape[..^1], G, C / G];
            h = (h.view(shape) * gates.reshape([.. h.shape[..^1], G, 1])).view(h.shape).to(x.dtype);
        }
        // The low-rank part is a product of its own: the base's stays what it is without an adapter, to the bit.
        return (y + torch.nn.functional.linear(h, b.to(x.dtype)) * scale).MoveToOuterDisposeScope();
    }
}
