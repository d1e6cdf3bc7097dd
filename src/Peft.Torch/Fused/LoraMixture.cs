namespace Peft.Torch;

public static partial class Fused
{
    /// <summary>The one mixture operation: x Wt + bias + scale * ((loraInput At) o gates) Bt.</summary>
    /// <remarks>Shapes: x [.., D], weight [O, D], bias [O], a [C, D], b [O, C], gates [.., G] with one row for each row
    /// of x and C a multiple of G (gate g multiplies columns g * C / G and on) gives [.., O]. Types: a, b and gates may be
    /// float32 beside reduced x and weight. Gradient: to every input that requires one; first derivatives only.
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
        return Composed.lora_mixture_linear(x, weight, bias, a, b, gates, scale, loraInput);
    }
}
