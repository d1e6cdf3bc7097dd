namespace Peft.Torch;

public static partial class Fused
{
    /// <summary>Rotary position embedding, halves of a head as pairs: x * cos + rotate_half(x) * sin.</summary>
    /// <remarks>Shapes: x [B, T, H, d], cos and sin [B or 1, T, d] gives [B, T, H, d]; where cos and sin are narrower than d, the rest of
    /// each head passes unchanged. Gradient: to x. Errors: <see cref="ArgumentException"/> when shapes do not meet.</remarks>
    public static Tensor rotary(Tensor x, Tensor cos, Tensor sin)
    {
        if (x.dim() != 4 || cos.dim() != 3 || !cos.shape.AsSpan().SequenceEqual(sin.shape) || (cos.size(0) != 1 && cos.size(0) != x.size(0))
            || cos.size(1) != x.size(1) || cos.size(2) > x.size(3) || cos.size(2) % 2 != 0)
        {
            throw new ArgumentException($"cos {Shapes.Of(cos)} and sin {Shapes.Of(sin)} do not meet x {Shapes.Of(x)}; "
                + "x is [B, T, H, d], cos and sin are [B or 1, T, d or an even part of it]");
        }

        return Composed.rotary(x, cos, sin);
    }
}
