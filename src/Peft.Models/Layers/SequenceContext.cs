namespace Peft.Models.Layers;

/// <summary>What every block of one forward needs to know about the tokens' places; computed once, above the blocks.</summary>
/// <param name="Cosines">[B or 1, T, d] float32.</param>
/// <param name="Sines">[B or 1, T, d] float32.</param>
/// <param name="Mask">[B, 1, 1, S] float32 added to the scores, or null.</param>
/// <param name="Segments">The sequences of packed rows, or null.</param>
public sealed record SequenceContext(Tensor Cosines, Tensor Sines, Tensor? Mask, SequenceSegments? Segments = null)
{
    /// <summary>Computes the tables and the mask for one forward.</summary>
    /// <param name="rotary">Rotary tables.</param>
    /// <param name="ids">[B, T] int64.</param>
    /// <param name="pass">Positions, segments, key mask and cache.</param>
    /// <remarks>
    /// Shapes: as the properties say.
    /// Errors: ArgumentException when the key mask does not cover the cache and these tokens.
    /// </remarks>
    public static SequenceContext For(RotaryEmbedding rotary, Tensor ids, ForwardPass pass)
    {
        var before = pass.Cache?.Length ?? 0;
        var keys = before + ids.shape[1];
        if (pass.KeyMask is { } given && given.shape[1] != keys)
            throw new ArgumentException($"key mask covers {given.shape[1]} tokens, attention has {keys}", nameof(pass));
        var positions = pass.Positions
            ?? pass.Segments?.Positions(ids.device)
            ?? torch.arange(before, keys, dtype: ScalarType.Int64, device: ids.device).unsqueeze(0); // [1, T]
        var (cosines, sines) = rotary.Tables(positions);
        var context = new SequenceContext(cosines, sines, AttentionMask.FromKeys(pass.KeyMask), pass.Segments);
        // Blocks that run again in the backward pass need it once more.
        if (pass.GradientCheckpointing)
            context.KeepIn(pass);
        return context;
    }

    private void KeepIn(ForwardPass pass)
    {
        pass.Keep(Cosines);
        pass.Keep(Sines);
        if (Mask is not null)
            pass.Keep(Mask);
    }
}
