using Peft.Formats.HuggingFace;

namespace Peft.Models.Layers;

/// <summary>Cosine and sine tables of rotary positions.</summary>
/// <remarks>
/// Source: Su et al. 2021, arXiv:2104.09864, eq. 34, in the rotate-half layout; <c>linear</c>: Chen et al. 2023, arXiv:2306.15595
/// (every frequency divided by the factor); <c>llama3</c>: low frequencies divided, high kept, a blend between.
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
