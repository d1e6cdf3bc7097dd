namespace Peft.Torch;

public static partial class Fused
{
    /// <summary>silu(gate) * up. Shapes: both alike. Gradient: to both, from the inputs alone.
    /// Errors: <see cref="ArgumentException"/> when shapes or types differ.</summary>
    public static Tensor swiglu(Tensor gate, Tensor up)
    {
        if (!gate.shape.AsSpan().SequenceEqual(up.shape) || gate.dtype != up.dtype)
        {
            throw new ArgumentException($"gate {Shapes.Of(gate)} {gate.dtype} and up {Shapes.Of(up)} {up.dtype} differ; "
                + "they have one shape and type");
        }

        return Composed.swiglu(gate, up);
    }
}
