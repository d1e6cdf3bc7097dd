namespace Peft.Models.Layers;

/// <summary>The mask that hides padding from attention; causality and windows are the attention's own.</summary>
public static class AttentionMask
{
    /// <summary>Turns which keys may be seen into what is added to the scores.</summary>
    /// <param name="keyMask">[B, S] bool, true = may be seen; null: all.</param>
    /// <remarks>Shapes: → [B, 1, 1, S] float32, 0 or minus infinity, or null. A query that sees no key gets zeros from the attention.</remarks>
    public static Tensor? FromKeys(Tensor? keyMask)
    {
        if (keyMask is null)
            return null;
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var visible = torch.zeros(keyMask.shape, dtype: ScalarType.Float32, device: keyMask.device);
        return visible.masked_fill(keyMask.logical_not(), double.NegativeInfinity).unsqueeze(1).unsqueeze(1).MoveToOuterDisposeScope();
    }
}
