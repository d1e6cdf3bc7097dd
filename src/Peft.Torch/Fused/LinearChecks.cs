namespace Peft.Torch;

/// <summary>Refuses products of matrices that do not meet.</summary>
internal static class LinearChecks
{
    public static void Check(Tensor x, Tensor weight, Tensor? bias)
    {
        if (x.dim() < 1 || weight.dim() != 2 || x.size(-1) != weight.size(1))
            throw new ArgumentException($"x {Shapes.Of(x)} does not meet weight {Shapes.Of(weight)}; x is [..., D] and weight [O, D]");
        if (bias is not null && (bias.dim() != 1 || bias.size(0) != weight.size(0)))
            throw new ArgumentException($"bias {Shapes.Of(bias)} does not meet weight {Shapes.Of(weight)}; bias is [O]");
        if (x.dtype != weight.dtype || (bias is not null && bias.dtype != x.dtype))
            throw new ArgumentException($"x {x.dtype}, weight {weight.dtype} and bias {bias?.dtype ?? x.dtype} differ in type");
    }

    public static void Check(Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b, Tensor? gates, Tensor? loraInput)
    {
        Check(x, weight, bias);
        if (a.dim() != 2 || a.size(1) != weight.size(1))
            throw new ArgumentException($"a {Shapes.Of(a)} does not meet weight {Shapes.Of(weight)}; a is [C, D]");
        if (b.dim() != 2 || b.size(0) != weight.size(0) || b.size(1) != a.size(0))
            throw new ArgumentException($"b {Shapes.Of(b)} does not meet weight {Shapes.Of(weight)} and a {Shapes.Of(a)}; b is [O, C]");
        if (loraInput is not null && (!loraInput.shape.AsSpan().SequenceEqual(x.shape) || loraInput.dtype != x.dtype))
            throw new ArgumentException($"loraInput differs from x {Shapes.Of(x)} in shape or type; it is x after dropout");
        if (gates is null)
            return;
        if (gates.dim() < 1 || gates.size(-1) < 1 || a.size(0) % gates.size(-1) != 0)
        {
            throw new ArgumentException($"gates {Shapes.Of(gates)} do not divide the {a.size(0)} columns of a; "
                + "gates are [N, G] with C a multiple of G");
        }
        if (gates.numel() / gates.size(-1) != x.numel() / Math.Max(1, x.size(-1)))
            throw new ArgumentException($"gates {Shapes.Of(gates)} do not have one row for each row of x {Shapes.Of(x)}");
    }
}
