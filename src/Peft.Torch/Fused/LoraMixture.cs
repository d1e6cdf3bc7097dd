namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>The one mixture operation: x Wt + bias + scale * ((loraInput At) o gates) Bt.</summary>
    /// <remarks>Shapes: x [.., D], weight [O, D], bias [O], a [C, D], b [O, C], gates [.., G] with one row for each row
    /// of x and C a multiple of G (gate g multiplies columns g * C / G and on) gives [.., O]. With a [C / G, D] every
    /// gate multiplies the same x At. Types: a, b and gates may
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
    /// <param name="selected">Which gates count, bool like gates; the others are zero and get no gradient. Where few
    /// do, only their products are computed. Null: all.</param>
    public static Tensor lora_mixture_linear(Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b,
        Tensor? gates, double scale, Tensor? loraInput = null, Tensor? selected = null)
    {
        LinearChecks.Check(x, weight, bias, a, b, gates, loraInput, selected);
        return LinearKernel.Serves(x)
            ? new LoraMixtureFunction(scale, selected).Apply(x, weight, bias, a, b, gates, loraInput)
            : Composed.lora_mixture_linear(
                x, weight, bias, a, b, selected is null ? gates : gates! * selected, scale, loraInput);
    }

    /// <summary>The mixture's part alone: scale * ((x At) o gates) Bt.</summary>
    /// <remarks>Shapes: x [.., D], a [C, D], b [O, C], gates [.., G] as in <see cref="lora_mixture_linear"/> gives
    /// [.., O]. Gradient: to x, a, b and gates. Errors: <see cref="ArgumentException"/> when shapes do not
    /// meet.</remarks>
    public static Tensor lora_mixture(
        Tensor x, Tensor a, Tensor b, Tensor? gates, double scale, Tensor? selected = null)
    {
        LinearChecks.Check(x, a, b, gates, selected);
        return LinearKernel.Serves(x)
            ? new LoraMixtureFunction(scale, selected).Apply(x, null, null, a, b, gates, null)
            : Composed.lora_mixture(x, a, b, selected is null ? gates : gates! * selected, scale);
    }
}

/// <summary>The mixture operation on the CPU; inputs x, weight, bias, a, b, gates, loraInput. Without a weight it gives
/// the mixture's part alone.</summary>
internal sealed class LoraMixtureFunction(double scale, Tensor? selected) : AutogradFunction
{
    private const int X = 0, Weight = 1, Bias = 2, A = 3, B = 4, Gates = 5, LoraInput = 6, Count = 7;
    private long[] _shape = [];
    private ScalarType _type;
    private bool _split;
    private IExpertProducts _experts = null!;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight, a, b, gates, loraInput) =
            (inputs[X]!, inputs[Weight], inputs[A]!, inputs[B]!, inputs[Gates], inputs[LoraInput]);
        var type = LinearKernel.ProductType(x.dtype);
        var kernel = LinearKernel.For(type);
        (_shape, _type, _split) = (x.shape, x.dtype, loraInput is not null);
        var rows = LinearTensors.Rows(x, type);
        var shape = new LowRankShape(
            rows.size(0), rows.size(1), b.size(0), b.size(1), gates?.size(-1) ?? 1, scale);
        _experts = OneDownExperts.Serves(a, b) ? new OneDownExperts(shape, kernel)
            : GroupedExperts.Of(shape, gates, selected, type) ?? (IExpertProducts)new StackedExperts(shape, kernel);
        var input = loraInput is null ? rows : LinearTensors.Rows(loraInput, type);
        var added = _experts.Forward(input, a, b, gates, out var h);
        var y = torch.empty([.. _shape[..^1], b.size(0)], type);
        if (weight is null)
            kernel.Fill(added, y);
        else
            kernel.Forward(rows, LinearTensors.Dense(weight, type), inputs[Bias]?.As(kernel.SumType), added, y);
        // The input is kept only for the gradients that are sums over rows of it.
        Save(Needs(Weight) || (Needs(A) && !_split) ? x : null, weight, a, b, gates, Needs(A) ? loraInput : null,
            Needs(B) || Needs(Gates) ? h : null, Needs(Gates) && _experts is not GroupedExperts ? selected : null);
        return [y.As(x.dtype)];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var result = new Tensor?[Count];
        if (gradients[0] is null)
            return result;
        var (x, weight) = (saved[X], saved[Weight]);
        var type = LinearKernel.ProductType(_type);
        var kernel = LinearKernel.For(type);
        var dy = LinearTensors.Rows(gradients[0]!, type);
        LowRankTerm? added =
            Needs(Gates) || Needs(A) || Needs(B) || Needs(LoraInput) || (Needs(X) && !_split)
                ? LowRankBackward(dy, saved, result) : null;
        if (Needs(X))
            result[X] = LinearTensors.InputGradient(
                SumSoFar(X), dy, weight, _split ? null : added, _shape, _type);
        if (Needs(LoraInput))
            result[LoraInput] = LinearTensors.InputGradient(SumSoFar(LoraInput), dy, null, added, _shape, _type);
        if (Needs(Weight))
            result[Weight] = Leave(
                weight!, LinearTensors.WeightGradient(kernel, dy, LinearTensors.Rows(x!, type), weight!));
        if (Needs(Bias))
            result[Bias] = dy.sum(0, type: kernel.SumType).As(_type);
        return result;
    }

    // The gradients of a, b and gates; returns what the gradient of the mixture's input is a product of.
    private LowRankTerm LowRankBackward(Tensor dy, Tensor?[] saved, Tensor?[] result)
    {
        var (x, a, b, gates, loraInput, h) = (saved[0], saved[2]!, saved[3]!, saved[4], saved[5], saved[6]);
        var mask = saved[7];
        var input = Needs(A) ? LinearTensors.Rows((_split ? loraInput : x)!, dy.dtype) : null;
        var found = _experts.Backward(dy, input, a, b, gates, h, Needs(B), Needs(Gates));
        result[A] = Leave(a, found.A?.As(a.dtype));
        result[B] = Leave(b, found.B?.As(b.dtype));
        result[Gates] = found.Gates?.As(gates!.dtype).view(gates.shape);
        if (mask is not null)
            result[Gates]!.mul_(mask);
        return found.Input;
    }
}

internal static partial class Composed
{
    public static Tensor lora_mixture_linear(
        Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b, Tensor? gates, double scale,
        Tensor? loraInput)
    {
        using var scope = torch.NewDisposeScope();
        // The low-rank part is a product of its own: the base's stays what it is without an adapter, to the bit.
        return (linear(x, weight, bias) + lora_mixture(loraInput ?? x, a, b, gates, scale)).MoveToOuterDisposeScope();
    }

    public static Tensor lora_mixture(Tensor x, Tensor a, Tensor b, Tensor? gates, double scale)
    {
        using var scope = torch.NewDisposeScope();
        var h = torch.nn.functional.linear(x, a.to(x.dtype));
        if (gates is not null)
        {
            var (G, C) = (gates.size(-1), b.size(1));
            var each = a.size(0) == C ? h.view([.. h.shape[..^1], G, C / G]) : h.unsqueeze(-2);
            h = (each * gates.reshape([.. h.shape[..^1], G, 1])).view([.. h.shape[..^1], C]).to(x.dtype);
        }
        return (torch.nn.functional.linear(h, b.to(x.dtype)) * scale).MoveToOuterDisposeScope();
    }
}
