using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>A projection into experts that stay apart: for each token and each of its experts a row, x Wt + bias +
    /// scale * (loraInput A_et) B_et. x Wt is computed once a token.</summary>
    /// <remarks>Shapes: x [.., D] of N tokens, weight [O, D], bias [O], a [E R, D], b [O, E R], P rows gives [P, O].
    /// Types: a and b may be float32 beside reduced x and weight. Gradient: to x, a, b and loraInput; weight and bias
    /// are frozen; first derivatives only. Errors: <see cref="ArgumentException"/> when shapes do not meet.</remarks>
    /// <param name="x">Input of the base layer.</param>
    /// <param name="weight">The base layer's weight.</param>
    /// <param name="bias">The base layer's bias.</param>
    /// <param name="a">Down projections of all experts, stacked.</param>
    /// <param name="b">Up projections of all experts, side by side.</param>
    /// <param name="rows">Which tokens go to which experts.</param>
    /// <param name="scale">Factor of the experts' part.</param>
    /// <param name="loraInput">Input of the experts' part where it is not x (x after dropout).</param>
    public static Tensor expert_rows_linear(
        Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b, ExpertRows rows, double scale,
        Tensor? loraInput = null)
    {
        LinearChecks.Check(x, weight, bias, a, b, null, loraInput, null);
        rows.Check(a, x.numel() / x.size(-1), rows.Tokens, "token");
        using var scope = torch.NewDisposeScope();
        (a, b) = rows.WithServedRank(a, b);
        var y = rows.AreServed(x, a, b) ? new ExpertRowsFunction(rows, scale).Apply(x, weight, bias, a, b, loraInput)
            : Composed.expert_rows_linear(x, weight, bias, a, b, rows, scale, loraInput);
        return y.MoveToOuterDisposeScope();
    }

    /// <summary>A projection out of experts that were apart: for each token (Σ_e gates_e x_e) Wt + scale Σ_e gates_e
    /// (loraInput_e A_et) B_et. The weight meets the sum, which is once a token.</summary>
    /// <remarks>Shapes: x [P, F], weight [O, F], a [E R, F], b [O, E R], gates [N, E] gives [.., O], the leading
    /// dimensions those of the tokens. Types and errors: as <see cref="expert_rows_linear"/>. Gradient: to x, a, b,
    /// gates and loraInput; gates of experts that a token does not use get none.</remarks>
    /// <param name="x">Rows of the experts.</param>
    /// <param name="weight">The base layer's weight.</param>
    /// <param name="a">Down projections of all experts, stacked.</param>
    /// <param name="b">Up projections of all experts, side by side.</param>
    /// <param name="gates">The weight of each expert.</param>
    /// <param name="rows">Which tokens go to which experts.</param>
    /// <param name="scale">Factor of the experts' part.</param>
    /// <param name="loraInput">Input of the experts' part where it is not x (x after dropout).</param>
    public static Tensor expert_sum_linear(
        Tensor x, Tensor weight, Tensor a, Tensor b, Tensor gates, ExpertRows rows, double scale,
        Tensor? loraInput = null)
    {
        LinearChecks.Check(x, weight, null, a, b, null, loraInput, null);
        rows.Check(a, x.size(0), rows.Count, "row");
        if (gates.dim() != 2 || gates.size(0) != rows.Tokens || gates.size(1) != rows.Experts)
            throw new ArgumentException(
                $"gates {Shapes.Of(gates)} do not meet {rows.Tokens} tokens and {rows.Experts} experts");
        using var scope = torch.NewDisposeScope();
        (a, b) = rows.WithServedRank(a, b);
        var y = rows.AreServed(x, a, b)
            ? new ExpertSumFunction(rows, scale).Apply(x, weight, a, b, gates, loraInput)
            : Composed.expert_sum_linear(x, weight, a, b, gates, rows, scale, loraInput);
        return y.reshape([.. rows.Leading, weight.size(0)]).MoveToOuterDisposeScope();
    }
}

/// <summary>Rows that stand for a token and one of its experts: those of an expert together, in the tokens'
/// order.</summary>
public sealed unsafe class ExpertRows
{
    private readonly ExpertGroups _groups, _apart;
    private readonly int[] _tokens, _cells; // of each row its token, and where its gate stands in [N, E]
    private readonly int[] _own, _starts; // the rows of token n are _own[_starts[n]] and on

    private ExpertRows(ExpertGroups groups, int tokens, long[] leading)
    {
        (_groups, _apart, Tokens, Leading) = (groups, groups.Apart(), tokens, leading);
        (_tokens, _cells, _own) = (new int[Count], new int[Count], new int[Count]);
        _starts = new int[tokens + 1];
        for (int expert = 0, row = 0; expert < Experts; expert++)
        {
            foreach (var token in groups.Of(expert).Rows)
            {
                (_tokens[row], _cells[row++]) = (token, token * Experts + expert);
                _starts[token + 1]++;
            }
        }

        for (var token = 0; token < tokens; token++)
            _starts[token + 1] += _starts[token];
        var next = _starts[..^1];
        for (var row = 0; row < Count; row++)
            _own[next[_tokens[row]]++] = row;
    }

    /// <summary>P.</summary>
    public int Count => _groups.Pairs;

    /// <summary>N.</summary>
    public int Tokens { get; }

    /// <summary>E.</summary>
    public int Experts => _groups.Experts;

    /// <summary>The dimensions whose product is N.</summary>
    public IReadOnlyList<long> Leading { get; }

    /// <summary>The rows of a choice.</summary>
    /// <param name="selected">[N, E] bool.</param>
    /// <param name="leading">The dimensions whose product is N.</param>
    public static ExpertRows Of(Tensor selected, ReadOnlySpan<long> leading)
    {
        using var scope = torch.NewDisposeScope();
        var mask = selected.to(torch.CPU).Dense();
        var (tokens, experts) = ((int)mask.size(0), (int)mask.size(1));
        return new(new ExpertGroups(TensorMemory.Of<bool>(mask), tokens, experts, 1), tokens, [.. leading]);
    }

    /// <summary>A number of each row, by its token and its expert alone.</summary>
    /// <remarks>Shapes: tokens [N] int64 or null to [P] int64.</remarks>
    /// <param name="tokens">A number of each token; null: its place.</param>
    public Tensor Places(Tensor? tokens)
    {
        var numbers = tokens?.Values<long>();
        return torch.tensor(
            Array.ConvertAll(_cells, cell =>
                numbers is null ? cell : (numbers[cell / Experts] * Experts) + (cell % Experts)),
            [Count]);
    }

    internal ReadOnlySpan<int> RowsOf(long token) => _own.AsSpan(_starts[token].._starts[token + 1]);

    internal int TokenOf(long row) => _tokens[row];

    internal int CellOf(long row) => _cells[row];

    /// <summary>The rows of each expert: the first, and how many.</summary>
    internal IEnumerable<(int Expert, int First, int Count)> Spans()
    {
        for (int expert = 0, first = 0; expert < Experts; expert++)
        {
            var count = _groups.Of(expert).Rows.Length;
            yield return (expert, first, count);
            first += count;
        }
    }

    /// <summary>Token and gate of each row as indices, [P] int64 each.</summary>
    internal (Tensor Tokens, Tensor Cells) Indices(Device device) => (
        torch.tensor(Array.ConvertAll(_tokens, token => (long)token), [Count], device: device),
        torch.tensor(Array.ConvertAll(_cells, cell => (long)cell), [Count], device: device));

    /// <summary>The products of experts whose inputs are tokens and outputs rows, or the other way round.</summary>
    internal GroupedExperts Products(Tensor a, Tensor b, double scale, bool isIn)
    {
        var (ranks, shape) = ((int)(a.size(0) / Experts), ShapeOf(a, b, scale));
        var (tokens, rows) = (_groups.OfRank(ranks), _apart.OfRank(ranks));
        return isIn ? new(shape, tokens, rows) : new(shape, rows, tokens);
    }

    /// <summary>The factors with ranks of zeros behind each expert's own, up to a rank that has kernels.</summary>
    internal (Tensor A, Tensor B) WithServedRank(Tensor a, Tensor b)
    {
        var rank = a.size(0) / Experts;
        var more = (GroupedKernel.RankStep - rank % GroupedKernel.RankStep) % GroupedKernel.RankStep;
        return more == 0 || a.device_type != DeviceType.CPU || !Vector512.IsHardwareAccelerated ? (a, b) : (
            torch.nn.functional.pad(a.reshape(Experts, rank, -1), [0, 0, 0, more]).reshape(-1, a.size(1)),
            torch.nn.functional.pad(b.reshape(-1, Experts, rank), [0, more]).reshape(b.size(0), -1));
    }

    /// <summary>Whether there are kernels for them.</summary>
    internal bool AreServed(Tensor x, Tensor a, Tensor b) =>
        Count > 0 && Kernels.ServeRows(x) && LinearKernel.Serves(x)
        && GroupedKernel.Serves(ShapeOf(a, b, 1), x.dtype);

    internal void Check(Tensor a, long found, long expected, string what)
    {
        if (found != expected || a.size(0) % Experts != 0)
            throw new ArgumentException(
                $"x has {found} and a {a.size(0)} rows; expected {expected}, one for each {what}, and a multiple of "
                + $"{Experts} experts");
    }

    private LowRankShape ShapeOf(Tensor a, Tensor b, double scale) =>
        new(Tokens, a.size(1), b.size(0), a.size(0), Experts, scale);
}

/// <summary><see cref="Fused.expert_rows_linear"/> on the CPU; inputs x, weight, bias, a, b, loraInput.</summary>
internal sealed class ExpertRowsFunction(ExpertRows rows, double scale) : AutogradFunction
{
    private const int X = 0, Weight = 1, Bias = 2, A = 3, B = 4, LoraInput = 5, Count = 6;
    private long[] _shape = [];
    private bool _split;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight, a, b, loraInput) = (inputs[X]!, inputs[Weight]!, inputs[A]!, inputs[B]!, inputs[LoraInput]);
        var (type, kernel) = (x.dtype, LinearKernel.For(x.dtype));
        (_shape, _split) = (x.shape, loraInput is not null);
        var flat = LinearTensors.Rows(x, type);
        var plain = torch.empty([rows.Tokens, weight.size(0)], type);
        kernel.Forward(flat, LinearTensors.Dense(weight, type), inputs[Bias]?.As(kernel.SumType), null, plain);
        var input = _split ? LinearTensors.Rows(loraInput!, type) : flat;
        var added = rows.Products(a, b, scale, isIn: true).Forward(input, a, b, Ones(), out var h);
        var y = torch.empty([rows.Count, weight.size(0)], type);
        ExpertRowsKernel.Of(type).Spread(rows, plain, null, added, y);
        Save(weight, a, b, Needs(A) ? loraInput ?? x : null, Needs(B) ? h : null);
        return [y];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var result = new Tensor?[Count];
        if (gradients[0] is not { } gradient)
            return result;
        var (weight, a, b, input, h) = (saved[0]!, saved[1]!, saved[2]!, saved[3], saved[4]);
        var (type, kernel) = (weight.dtype, LinearKernel.For(weight.dtype));
        var dy = LinearTensors.Dense(gradient, type);
        var found = rows.Products(a, b, scale, isIn: true).Backward(
            dy, input is null ? null : LinearTensors.Rows(input, type), a, b, Ones(), h, Needs(B), needsGates: false);
        (result[A], result[B]) = (Leave(a, found.A?.As(a.dtype)), Leave(b, found.B?.As(b.dtype)));
        if (Needs(X))
        {
            var sum = torch.empty([rows.Tokens, weight.size(0)], type);
            ExpertRowsKernel.Of(type).Sum(rows, dy, null, sum);
            result[X] = LinearTensors.InputGradient(
                SumSoFar(X), sum, weight, _split ? null : found.Input, _shape, type);
        }

        if (Needs(LoraInput))
            result[LoraInput] = LinearTensors.InputGradient(
                SumSoFar(LoraInput), dy, null, found.Input, _shape, type);
        return result;
    }

    private Tensor Ones() => torch.ones([rows.Tokens, rows.Experts], ScalarType.Float32);
}

/// <summary><see cref="Fused.expert_sum_linear"/> on the CPU; inputs x, weight, a, b, gates, loraInput.</summary>
internal sealed class ExpertSumFunction(ExpertRows rows, double scale) : AutogradFunction
{
    private const int X = 0, A = 2, B = 3, Gates = 4, LoraInput = 5, Count = 6;
    private bool _split;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight, a, b, gates, loraInput) =
            (inputs[X]!, inputs[1]!, inputs[A]!, inputs[B]!, inputs[Gates]!, inputs[LoraInput]);
        var (type, kernel) = (x.dtype, LinearKernel.For(x.dtype));
        _split = loraInput is not null;
        var added = rows.Products(a, b, scale, isIn: false)
            .Forward(LinearTensors.Dense(loraInput ?? x, type), a, b, gates, out var h);
        var sum = torch.empty([rows.Tokens, x.size(1)], type);
        ExpertRowsKernel.Of(type).Sum(rows, LinearTensors.Dense(x, type), Floats(gates), sum);
        var y = torch.empty([rows.Tokens, weight.size(0)], type);
        kernel.Forward(sum, LinearTensors.Dense(weight, type), null, added, y);
        Save(Needs(Gates) || (Needs(A) && !_split) ? x : null, weight, a, b, gates, Needs(A) ? loraInput : null,
            Needs(B) || Needs(Gates) ? h : null);
        return [y];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var result = new Tensor?[Count];
        if (gradients[0] is not { } gradient)
            return result;
        var (x, weight, a, b, gates, h) = (saved[0], saved[1]!, saved[2]!, saved[3]!, saved[4]!, saved[6]);
        var (type, own) = (weight.dtype, ExpertRowsKernel.Of(weight.dtype));
        var dy = LinearTensors.Rows(gradient, type);
        var input = !Needs(A) ? null : LinearTensors.Dense((_split ? saved[5] : x)!, type);
        var found = rows.Products(a, b, scale, isIn: false)
            .Backward(dy, input, a, b, gates, h, Needs(B), Needs(Gates));
        (result[A], result[B]) = (Leave(a, found.A?.As(a.dtype)), Leave(b, found.B?.As(b.dtype)));
        long[] wide = [rows.Count, weight.size(1)];
        if (Needs(LoraInput))
            own.Spread(rows, null, null, found.Input, result[LoraInput] = torch.empty(wide, type));
        if (!Needs(X) && !Needs(Gates))
            return result;
        var sum = torch.empty([rows.Tokens, weight.size(1)], type);
        LinearKernel.For(type).Backward(dy, LinearTensors.Dense(weight, type), null, sum);
        if (Needs(X))
            own.Spread(
                rows, sum, Floats(gates), _split ? null : found.Input, result[X] = torch.empty(wide, type));
        if (Needs(Gates))
        {
            own.AddDots(rows, LinearTensors.Dense(x!, type), sum, found.Gates!);
            result[Gates] = found.Gates!.As(gates.dtype);
        }

        return result;
    }

    private static Tensor Floats(Tensor gates) => LinearTensors.Dense(gates, ScalarType.Float32);
}

internal static partial class Composed
{
    public static Tensor expert_rows_linear(
        Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b, ExpertRows rows, double scale, Tensor? loraInput)
    {
        using var scope = torch.NewDisposeScope();
        var (tokens, _) = rows.Indices(x.device);
        var plain = linear(x, weight, bias).reshape(-1, weight.size(0)).index_select(0, tokens);
        var input = (loraInput ?? x).reshape(-1, weight.size(1)).index_select(0, tokens);
        return (plain + ExpertProducts(input, a, b, rows) * scale).MoveToOuterDisposeScope();
    }

    public static Tensor expert_sum_linear(
        Tensor x, Tensor weight, Tensor a, Tensor b, Tensor gates, ExpertRows rows, double scale, Tensor? loraInput)
    {
        using var scope = torch.NewDisposeScope();
        var (tokens, cells) = rows.Indices(x.device);
        var weights = gates.reshape(-1).index_select(0, cells).unsqueeze(-1);                  // [P, 1]
        var mixed = torch.zeros([rows.Tokens, x.size(1)], x.dtype, x.device)
            .index_add(0, tokens, (x * weights).to(x.dtype), 1);
        var added = ExpertProducts(loraInput ?? x, a, b, rows) * (weights * scale);
        var all = torch.zeros([rows.Tokens, weight.size(0)], x.dtype, x.device)
            .index_add(0, tokens, added.to(x.dtype), 1);
        return (linear(mixed, weight, null) + all).MoveToOuterDisposeScope();
    }

    // [P, O]: each expert's rows times its own A and B.
    private static Tensor ExpertProducts(Tensor x, Tensor a, Tensor b, ExpertRows rows)
    {
        var ranks = a.size(0) / rows.Experts;
        return torch.cat([.. rows.Spans().Select(own => x.narrow(0, own.First, own.Count)
            .mm(a.narrow(0, own.Expert * ranks, ranks).to(x.dtype).t())
            .mm(b.narrow(1, own.Expert * ranks, ranks).to(x.dtype).t()))]);
    }
}
