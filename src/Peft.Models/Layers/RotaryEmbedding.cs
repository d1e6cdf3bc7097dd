using Peft.Formats.HuggingFace;

namespace Peft.Models.Layers;

/// <summary>Cosine and sine tables of rotary positions.</summary>
/// <remarks>
/// Source: Su et al. 2021, arXiv:2104.09864, eq. 34, in the rotate-half layout; <c>linear</c>: Chen et al. 2023,
/// arXiv:2306.15595 (every frequency divided by the factor); <c>llama3</c>: low frequencies divided, high kept, a blend
/// between; <c>yarn</c>: Peng et al. 2023, arXiv:2309.00071, section 3 (the same over rotations, and a factor of the
/// tables); <c>dynamic</c>: its section 3.1, and <c>longrope</c>: Ding et al. 2024, arXiv:2402.13753, whose frequencies
/// depend on the longest position of a forward. Each as transformers 4.57 computes it.
/// </remarks>
public sealed class RotaryEmbedding
{
    private readonly RopeParameters _rope;
    private readonly int _size;
    private readonly float[] _inverseFrequencies;

    /// <summary>Computes the frequencies once.</summary>
    /// <param name="rope">Base and scaling.</param>
    /// <param name="headSize">Width of one head; what is turned of it is even.</param>
    public RotaryEmbedding(RopeParameters rope, int headSize)
    {
        (_rope, _size) = (rope, SizeOf(rope, headSize));
        _inverseFrequencies = FrequenciesFor(1);
    }

    /// <summary>The frequencies of short sequences, one a pair.</summary>
    public IReadOnlyList<float> Frequencies => _inverseFrequencies;

    /// <summary>How much of each head is turned.</summary>
    public static int SizeOf(RopeParameters rope, int headSize) => (int)(headSize * rope.PartialRotaryFactor);

    /// <summary>Whether the frequencies depend on how long a sequence is.</summary>
    public bool DependsOnLength => _rope.Type is "dynamic" or "longrope";

    /// <summary>Whether sequences of these lengths are turned alike; keys that were kept are of no use where
    /// not.</summary>
    public bool AreAlike(long length, long other) => _rope.Type switch
    {
        "dynamic" => length == other || (!IsLong(length) && !IsLong(other)),
        "longrope" => IsLong(length) == IsLong(other),
        _ => true,
    };

    /// <summary>Tables for the given positions, in float32.</summary>
    /// <remarks>Shapes: positions [B, T] int64 → cosines [B, T, d] and sines [B, T, d], d the width that is
    /// turned.</remarks>
    public (Tensor Cosines, Tensor Sines) Tables(Tensor positions)
    {
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var values = DependsOnLength
            ? FrequenciesFor(positions.max().ToInt64() + 1) : _inverseFrequencies;
        var frequencies = torch.tensor(values, [values.Length]).to(positions.device);
        var half = positions.to(ScalarType.Float32).unsqueeze(-1).mul(frequencies); // [B, T, d/2]
        var angles = torch.cat([half, half], -1);
        var (cosines, sines) = (angles.cos(), angles.sin());
        if (_rope.TableFactor != 1)
            (cosines, sines) = (cosines * _rope.TableFactor, sines * _rope.TableFactor);
        return (cosines.MoveToOuterDisposeScope(), sines.MoveToOuterDisposeScope());
    }

    private bool IsLong(long length) => length > _rope.OriginalMaxPositionEmbeddings;

    private float[] FrequenciesFor(long length)
    {
        var theta = _rope.Theta;
        if (_rope.Type == "dynamic" && IsLong(length))
        {
            var stretched = (_rope.Factor * length / _rope.OriginalMaxPositionEmbeddings) - (_rope.Factor - 1);
            theta *= Math.Pow(stretched, _size / (_size - 2.0));
        }

        var ramp = _rope.Type == "yarn" ? YarnCorners() : default;
        var frequencies = new float[_size / 2];
        for (var i = 0; i < frequencies.Length; i++)
            frequencies[i] = (float)Scale(i, 1.0 / Math.Pow(theta, 2.0 * i / _size), IsLong(length), ramp);
        return frequencies;
    }

    private double Scale(int pair, double frequency, bool isLong, (double Low, double High) ramp) => _rope.Type switch
    {
        "default" or "dynamic" => frequency,
        "linear" => frequency / _rope.Factor,
        "llama3" => ScaleByWavelength(_rope, frequency),
        "yarn" => Blend(frequency, Math.Clamp((pair - ramp.Low) / (ramp.High - ramp.Low), 0, 1)),
        "longrope" => frequency / (isLong ? _rope.LongFactor : _rope.ShortFactor)[pair],
        _ => throw new InvalidOperationException($"rope type '{_rope.Type}' is not computed here"),
    };

    private double Blend(double frequency, double share) =>
        (frequency / _rope.Factor * share) + (frequency * (1 - share));

    // Between which pairs frequencies go over from kept to divided.
    private (double Low, double High) YarnCorners()
    {
        var (low, high) = (Corner(_rope.BetaFast), Corner(_rope.BetaSlow));
        if (_rope.Truncates)
            (low, high) = (Math.Floor(low), Math.Ceiling(high));
        (low, high) = (Math.Max(low, 0), Math.Min(high, _size - 1));
        return (low, low == high ? high + 0.001 : high);

        double Corner(double rotations) =>
            _size * Math.Log(_rope.OriginalMaxPositionEmbeddings / (rotations * 2 * Math.PI))
                / (2 * Math.Log(_rope.Theta));
    }

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
/// <param name="Rotary">For each kind of rotary embedding cosines and sines, [B or 1, T, d] float32.</param>
/// <param name="Mask">[B, 1, 1, S], or [B or 1, H, 1, S] with ALiBi: float32 added to the scores, or null.</param>
/// <param name="Segments">The sequences of packed rows, or null.</param>
public sealed record SequenceContext(
    IReadOnlyList<(Tensor Cosines, Tensor Sines)> Rotary, Tensor? Mask, SequenceSegments? Segments = null)
{
    /// <summary>Cosines of the first kind.</summary>
    public Tensor Cosines => Rotary[0].Cosines;

    /// <summary>Sines of the first kind.</summary>
    public Tensor Sines => Rotary[0].Sines;

    /// <summary>The position of each token.</summary>
    /// <remarks>Shapes: ids [B, T] → [B or 1, T] int64.</remarks>
    public static Tensor PositionsOf(Tensor ids, ForwardPass pass)
    {
        var before = pass.Cache?.Length ?? 0;
        return pass.Positions
            ?? pass.Segments?.Positions(ids.device)
            ?? torch.arange(before, before + ids.shape[1], dtype: ScalarType.Int64, device: ids.device).unsqueeze(0);
    }

    /// <summary>Computes the tables and the mask for one forward.</summary>
    /// <param name="rotaries">The kinds of rotary embedding.</param>
    /// <param name="alibi">Slope of each head's bias; null: scores have none.</param>
    /// <param name="positions">[B or 1, T] int64.</param>
    /// <param name="ids">[B, T] int64.</param>
    /// <param name="pass">Segments, key mask and cache.</param>
    /// <remarks>
    /// Shapes: as the properties say.
    /// Errors: ArgumentException when the key mask does not cover the cache and these tokens.
    /// </remarks>
    public static SequenceContext For(
        IReadOnlyList<RotaryEmbedding> rotaries, Alibi? alibi, Tensor positions, Tensor ids, ForwardPass pass)
    {
        var keys = (pass.Cache?.Length ?? 0) + ids.shape[1];
        if (pass.KeyMask is { } given && given.shape[1] != keys)
            throw new ArgumentException($"key mask covers {given.shape[1]} tokens, attention has {keys}", nameof(pass));
        var context = new SequenceContext(
            [.. rotaries.Select(rotary => rotary.Tables(positions))], MaskOf(alibi, ids, keys, pass), pass.Segments);
        // Blocks that run again in the backward pass need it once more.
        if (pass.GradientCheckpointing)
            context.KeepIn(pass);
        return context;
    }

    private static Tensor? MaskOf(Alibi? alibi, Tensor ids, long keys, ForwardPass pass)
    {
        var hidden = AttentionMask.FromKeys(pass.KeyMask);
        if (alibi is null)
            return hidden;
        using var scope = torch.NewDisposeScope();
        var places = pass.KeyMask is { } mask ? (mask.to(ScalarType.Int64).cumsum(-1) - 1) * mask
            : pass.Segments?.Positions(ids.device)
            ?? torch.arange(keys, dtype: ScalarType.Int64, device: ids.device).unsqueeze(0);
        var bias = alibi.Bias(places);
        return (hidden is null ? bias : bias + hidden).MoveToOuterDisposeScope();
    }

    private void KeepIn(ForwardPass pass)
    {
        foreach (var (cosines, sines) in Rotary)
        {
            pass.Keep(cosines);
            pass.Keep(sines);
        }

        if (Mask is not null)
            pass.Keep(Mask);
    }
}

/// <summary>The bias that lets each head's scores fall with the distance of the key. It grows with the key's place:
/// what all keys of a query have in common does not matter.</summary>
/// <remarks>Source: Press et al. 2022, arXiv:2108.12409; rounded to bfloat16 as in Falcon, whose models were trained
/// so.</remarks>
public sealed class Alibi
{
    private readonly double[] _slopes;
    private readonly double _scale;

    /// <summary>Computes a slope for each head.</summary>
    /// <param name="heads">Number of heads.</param>
    /// <param name="scale">Factor of the scores, which is the bias's too.</param>
    public Alibi(int heads, double scale)
    {
        // A power of two gives a geometric series; further heads take every other slope of the next power's.
        var whole = 1 << System.Numerics.BitOperations.Log2((uint)Math.Max(1, heads));
        _scale = scale;
        _slopes = [.. Enumerable.Range(1, heads).Select(head => head <= whole
            ? Math.Pow(2, -8.0 * head / whole) : Math.Pow(2, -4.0 * ((2 * (head - whole)) - 1) / whole))];
    }

    /// <summary>What is added to the scores.</summary>
    /// <remarks>Shapes: places [B or 1, S] int64 → [B or 1, H, 1, S] float32.</remarks>
    public Tensor Bias(Tensor places)
    {
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var slopes = torch.tensor(_slopes, ScalarType.BFloat16, places.device).view(1, -1, 1, 1);
        var bias = slopes * places.to(ScalarType.BFloat16).unsqueeze(1).unsqueeze(1);
        return (bias.to(ScalarType.Float32) * _scale).MoveToOuterDisposeScope();
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
