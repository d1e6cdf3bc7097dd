namespace Peft.Torch;

public static partial class Fused
{
    /// <summary>x Wt + bias: a projection of the base model.</summary>
    /// <remarks>Shapes: x [.., D], weight [O, D], bias [O] gives [.., O]. Gradient: to every input that requires one.
    /// Errors: <see cref="ArgumentException"/> when shapes or types do not meet.</remarks>
    public static Tensor linear(Tensor x, Tensor weight, Tensor? bias = null)
    {
        LinearChecks.Check(x, weight, bias);
        return Composed.linear(x, weight, bias);
    }
}
