namespace Peft.Formats.HuggingFace;

/// <summary>
/// Rotary position embedding, from either spelling: v4 <c>rope_theta</c> + <c>rope_scaling</c>, v5
/// <c>rope_parameters</c>.
/// </summary>
/// <param name="Theta">Base of the wavelengths.</param>
/// <param name="Type">One of <c>default, linear, dynamic, llama3, yarn, longrope</c>.</param>
/// <param name="Factor">Context is stretched by this; 1 for the default type.</param>
/// <param name="LowFreqFactor">llama3: longer wavelengths than original length / this are divided by the
/// factor.</param>
/// <param name="HighFreqFactor">llama3: shorter wavelengths than original length / this are kept.</param>
/// <param name="OriginalMaxPositionEmbeddings">Context before stretching, in tokens.</param>
/// <param name="PartialRotaryFactor">Share of each head that is rotated.</param>
public sealed record RopeParameters(
    double Theta,
    string Type,
    double Factor,
    double LowFreqFactor,
    double HighFreqFactor,
    int OriginalMaxPositionEmbeddings,
    double PartialRotaryFactor)
{
    /// <summary>yarn: where interpolation ends, in rotations over the original context.</summary>
    public double BetaFast { get; init; } = 32;

    /// <summary>yarn: where interpolation begins, in rotations over the original context.</summary>
    public double BetaSlow { get; init; } = 1;

    /// <summary>yarn and longrope: multiplies cosine and sine; null where the formula of the type gives it.</summary>
    public double? AttentionFactor { get; init; }

    /// <summary>
    /// longrope: divisors of each frequency beyond the original context, half of the rotated size; else empty.
    /// </summary>
    public IReadOnlyList<double> LongFactor { get; init; } = [];

    /// <summary>
    /// longrope: divisors of each frequency within the original context, half of the rotated size; else empty.
    /// </summary>
    public IReadOnlyList<double> ShortFactor { get; init; } = [];
}
