namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>x Wt + bias + scale * hidden bt: a frozen linear layer, and what an adapter made of its input otherwise
    /// than by <c>x At</c> alone.</summary>
    /// <remarks>Shapes: x [.., D], weight [O, D], bias [O], hidden [N, R] with a row for each of x, b [O, R] gives
    /// [.., O]. Types: hidden and b may be float32 beside reduced x and weight. Gradient: to x, bias, hidden and b,
    /// never to weight; first derivatives only. Where b is zero the result is that of <see cref="linear"/>, bit for
    /// bit. Errors: <see cref="ArgumentException"/> when shapes do not meet.</remarks>
    public static Tensor low_rank_linear(
        Tensor x, Tensor weight, Tensor? bias, Tensor hidden, Tensor b, double scale)
    {
        LinearChecks.Check(x, weight, bias);
        if (hidden.dim() != 2 || hidden.size(0) != x.numel() / Math.Max(1, x.size(-1)))
            throw new ArgumentException(
                $"hidden {Shapes.Of(hidden)} does not have one row for each row of x {Shapes.Of(x)}");
        if (b.dim() != 2 || b.size(0) != weight.size(0) || b.size(1) != hidden.size(1))
            throw new ArgumentException(
                $"b {Shapes.Of(b)} does not meet weight {Shapes.Of(weight)} and hidden {Shapes.Of(hidden)}; "
                + "b is [O, R]");
        return LinearKernel.Serves(x)
            ? new LowRankLinearFunction(scale).Apply(x, weight, bias, hidden, b)
            : Composed.low_rank_linear(x, weight, bias, hidden, b, scale);
    }
}

/// <summary>The operation on the CPU; inputs x, weight, bias, hidden, b.</summary>
internal sealed class LowRankLinearFunction(double scale) : AutogradFunction
{
    private const int X = 0, Weight = 1, Bias = 2, Hidden = 3, B = 4, Count = 5;
    private long[] _shape = [];
    private LowRankShape _sizes;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight, hidden, b) = (inputs[X]!, inputs[Weight]!, inputs[Hidden]!, inputs[B]!);
        var type = LinearKernel.ProductType(x.dtype);
        var kernel = LinearKernel.For(type);
        _shape = x.shape;
        var rows = LinearTensors.Rows(x, type);
        _sizes = new(rows.size(0), rows.size(1), weight.size(0), b.size(1), 1, scale);
        var low = (hidden.As(kernel.SumType) * scale).As(type).Dense();
        var y = torch.empty([.. _shape[..^1], weight.size(0)], type);
        kernel.Forward(
            rows, LinearTensors.Dense(weight, type), inputs[Bias]?.As(kernel.SumType),
            new LowRankTerm(low, LinearTensors.Dense(b, type), Transposed: true, null), y);
        Save(weight, b, Needs(B) ? low : null, hidden);
        return [y.As(x.dtype)];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var result = new Tensor?[Count];
        if (gradients[0] is null)
            return result;
        var (weight, b, low, hidden) = (saved[0]!, saved[1]!, saved[2], saved[3]!);
        var type = LinearKernel.ProductType(weight.dtype);
        var kernel = LinearKernel.For(type);
        var dy = LinearTensors.Rows(gradients[0]!, type);
        if (Needs(Hidden) || Needs(B))
        {
            var dlow = torch.empty([_sizes.Rows, _sizes.Ranks], type);                   // scale * dy B
            var db = Needs(B) ? torch.empty(b.shape, kernel.SumType) : null;
            kernel.LowRankBackward(
                _sizes, dy, LinearTensors.Dense(b, type), null, null, low, null, dlow, null, db, null);
            result[Hidden] = Needs(Hidden) ? dlow.As(hidden.dtype) : null;
            result[B] = Leave(b, db?.As(b.dtype));
        }

        if (Needs(X))
            result[X] = LinearTensors.InputGradient(SumSoFar(X), dy, weight, null, _shape, weight.dtype);

        if (Needs(Bias))
            result[Bias] = dy.sum(0, type: kernel.SumType).As(weight.dtype);
        return result;
    }
}

internal static partial class Composed
{
    public static Tensor low_rank_linear(
        Tensor x, Tensor weight, Tensor? bias, Tensor hidden, Tensor b, double scale)
    {
        using var scope = torch.NewDisposeScope();
        var y = linear(x, weight, bias);
        var low = torch.nn.functional.linear(hidden.to(x.dtype), b.to(x.dtype)) * scale;
        return (y + low.view(y.shape)).MoveToOuterDisposeScope();
    }
}
