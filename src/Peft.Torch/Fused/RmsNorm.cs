namespace Peft.Torch;

public static partial class Fused
{
    /// <summary>weight * x / sqrt(mean(x squared) + eps); statistics in float32, rounded to x's type before the weight.</summary>
    /// <remarks>Shapes: x [.., D], weight [D] gives [.., D]. Gradient: to x and weight.
    /// Errors: <see cref="ArgumentException"/> when shapes do not meet.</remarks>
    public static Tensor rms_norm(Tensor x, Tensor weight, double eps)
    {
        if (x.dim() < 1 || weight.dim() != 1 || x.size(-1) != weight.size(0))
            throw new ArgumentException($"x {Shapes.Of(x)} does not meet weight {Shapes.Of(weight)}; x is [..., D] and weight [D]");
        return Composed.rms_norm(x, weight, eps);
    }
}
