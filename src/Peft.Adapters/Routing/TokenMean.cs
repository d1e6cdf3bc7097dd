namespace Peft.Adapters.Routing;

/// <summary>Means over real tokens: padding has weight zero.</summary>
public static class TokenMean
{
    /// <summary>The mean of every column over the real tokens.</summary>
    /// <remarks>Shapes: values [N, E], mask [N] bool or null → [E]. Gradient: through values.</remarks>
    public static Tensor OfRows(Tensor values, Tensor? mask)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (mask is null)
            return values.mean([0]);
        var weight = mask.reshape(-1, 1).to(torch.float32);
        // A batch of padding only has mean zero, not 0 / 0.
        return (values * weight).sum(0L) / weight.sum().clamp(min: 1);
    }
}
