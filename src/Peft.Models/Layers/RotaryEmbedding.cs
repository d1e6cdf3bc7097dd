using Peft.Formats.HuggingFace;

namespace Peft.Models.Layers;

/// <summary>Cosine and sine tables of rotary positions.</summary>
/// <remarks>
/// Source: Su et al. 2021, arXiv:2104.09864, eq. 34, in the rotate-half layout; <c>linear</c>: Chen et al. 2023,
/// arXiv:2306.15595 (every frequency divided by the factor); <c>llama3</c>: low frequencies divided, high kept, a blend
/// between.
/// </remarks>
public sealed class RotaryEmbedding
{
    /// <summary>The scaling types that are computed here.</summary>
    public static readonly IReadOnlyList<string> SupportedTypes = ["default", "linear", "llama3"];

    private readonly float[] _inverseFrequencies;

    /// <summary>Computes the frequencies once.</summary>
    /// <param name="rope">Base and scaling.</param>
    /// <param name="headSize">Width of one head; even.</param>
    public RotaryEmbedding(RopeParameters rope, int headSize)
    {
        _inverseFrequencies = new float[headSize / 2];
        for (var i = 0; i < _inverseFrequencies.Length; i++)
            _inverseFrequencies[i] = (float)Scale(rope, 1.0 / Math.Pow(rope.Theta, 2.0 * i / headSize));
    }

    /// <summary>The frequencies, one a pair.</summary>
    public IReadOnlyList<float> Frequencies => _inverseFrequencies;

    /// <summary>Tables for the given positions, in float32.</summary>
    /// <remarks>Shapes: positions [B, T] int64 → cosines [B, T, d] and sines [B, T, d].</remarks>
    public (Tensor Cosines, Tensor Sines) Tables(Tensor positions)
    {
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var frequencies = torch.tensor(_inverseFrequencies, [_inverseFrequencies.Length]).to(positions.device);
        var half = positions.to(ScalarType.Float32).unsqueeze(-1).mul(frequencies); // [B, T, d/2]
        var angles = torch.cat([half, half], -1);
        return (angles.cos().MoveToOuterDisposeScope(), angles.sin().MoveToOuterDisposeScope());
    }

    private static double Scale(RopeParameters rope, double frequency) => rope.Type switch
    {
        "default" => frequency,
        "linear" => frequency / rope.Factor,
        "llama3" => ScaleByWavelength(rope, frequency),
        _ => throw new ArgumentException($"rope type '{rope.Type}' is not computed here", nameof(rope)),
    };

    private static double ScaleByWavelength(RopeParameters rope, double frequency)
    {
        double original = rope.OriginalMaxPositionEmbeddings;
        var wavelength = 2 * Math.PI / frequency;
        if (wavelength < original / rope.HighFreqFactor)
            return frequency;
        if (wavelength > original / rope.LowFreqFactor)
            return frequency / rope.Factor;
        var smooth = ((original / wavelength) - rope.LowFreqFactor) / (rope.HighFreqFactor - rope.LowFreqFactor);
        return ((1 - smooth) * frequency / rope.Factor) + (smooth * frequency);
    }
}

/// <summary>What every block of one forward needs to know about the tokens' places; computed once, above the
/// blocks.</summary>
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

/// <summary>The mask that hides padding from attention; causality and windows are the attention's own.</summary>
public static class AttentionMask
{
    /// <summary>Turns which keys may be seen into what is added to the scores.</summary>
    /// <param name="keyMask">[B, S] bool, true = may be seen; null: all.</param>
    /// <remarks>Shapes: → [B, 1, 1, S] float32, 0 or minus infinity, or null. A query that sees no key gets zeros from
    /// the attention.</remarks>
    public static Tensor? FromKeys(Tensor? keyMask)
    {
        if (keyMask is null)
            return null;
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var visible = torch.zeros(keyMask.shape, dtype: ScalarType.Float32, device: keyMask.device);
        return visible.masked_fill(keyMask.logical_not(), double.NegativeInfinity).unsqueeze(1).unsqueeze(1)
            .MoveToOuterDisposeScope();
    }
}
