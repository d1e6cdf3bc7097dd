using Peft.Formats.Configuration;

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

    /// <summary>yarn: whether the corners of interpolation are whole pairs.</summary>
    public bool Truncates { get; init; } = true;

    /// <summary>Factor of cosines and sines: 1 but for yarn and longrope.</summary>
    public double TableFactor { get; init; } = 1;

    /// <summary>
    /// longrope: divisors of each frequency beyond the original context, half of the rotated size; else empty.
    /// </summary>
    public IReadOnlyList<double> LongFactor { get; init; } = [];

    /// <summary>
    /// longrope: divisors of each frequency within the original context, half of the rotated size; else empty.
    /// </summary>
    public IReadOnlyList<double> ShortFactor { get; init; } = [];
}

/// <summary>Brings the spellings of rotary embeddings in transformers 4 and 5 into one form.</summary>
internal static class RopeReader
{
    private const string Full = "full_attention";
    private const string Sliding = "sliding_attention";
    private static readonly string[] Types = ["default", "linear", "dynamic", "llama3", "yarn", "longrope"];

    // Version 5 nests a map for each kind of layer where they differ, as in Gemma 3.
    public static (RopeParameters Rope, RopeParameters? WindowRope) Read(ModelConfigFile config)
    {
        var key = config.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
        var map = config.Map[key] as ConfigMap;
        if (map is null && config.Has(key))
            config.Fault(key, config.Map[key]!.Describe(), "an object or null");
        if (map is not { Count: > 0 } || !map.Entries.All(entry => entry.Value is ConfigMap))
            return (Read(config, key, new OptionReader(map, key, config.Faults)), null);
        if (map.Count == 2 && map[Full] is ConfigMap && map[Sliding] is ConfigMap)
            return (Of(Full), Of(Sliding));
        if (map.Entries.Select(entry => ConfigText.ToJson((ConfigMap)entry.Value)).Distinct(StringComparer.Ordinal)
            .Count() > 1)
        {
            config.Fault(
                key, "rotary embeddings that differ by layer type",
                $"one of {Full} and one of {Sliding}, or one alone");
        }

        return (Of(map.Entries[0].Key), null);

        RopeParameters Of(string kind) => Read(
            config, key, new OptionReader((ConfigMap)map[kind]!, $"{key}.{kind}", config.Faults));
    }

    private static RopeParameters Read(ModelConfigFile config, string key, OptionReader values)
    {
        var defaultPartial = config.ModelType == "gpt_neox" ? 0.25 : 1.0;
        var topPartial = config.Number("partial_rotary_factor", defaultPartial, "rotary_pct");
        var topTheta = config.Number("rope_theta", 10000, "rotary_emb_base");
        var type = Type(config.ModelType, values);
        var length = OriginalLength(config, values, type);
        var rope = new RopeParameters(
            Theta: values.Number("rope_theta", topTheta),
            Type: type,
            Factor: values.Number("factor", 1),
            LowFreqFactor: values.Number("low_freq_factor", 1),
            HighFreqFactor: values.Number("high_freq_factor", 4),
            OriginalMaxPositionEmbeddings: length,
            PartialRotaryFactor: values.Number("partial_rotary_factor", topPartial))
        {
            BetaFast = values.Number("beta_fast", 32) is var fast && fast != 0 ? fast : 32,
            BetaSlow = values.Number("beta_slow", 1) is var slow && slow != 0 ? slow : 1,
            TableFactor = TableFactor(config, values, type, length),
            Truncates = values.Boolean("truncate", true),
            LongFactor = Factors(values, "long_factor"),
            ShortFactor = Factors(values, "short_factor"),
        };
        Check(config, values, key, rope);
        return rope;
    }

    // dynamic goes by the file's context, yarn reads its own key alone; longrope the file's first, which Phi-3 always
    // has.
    private static int OriginalLength(ModelConfigFile config, OptionReader values, string type)
    {
        const string Key = "original_max_position_embeddings";
        var most = Math.Max(1, config.Int("max_position_embeddings", 2048));
        var own = values.Has(Key) ? values.Integer(Key, most, 1) : (int?)null;
        var top = config.OptionalInt(Key) ?? (own is null && config.ModelType == "phi3" ? 4096 : null);
        return type switch
        {
            "yarn" => own ?? most,
            "dynamic" => most,
            "longrope" => top ?? own ?? most,
            _ => own ?? top ?? most,
        };
    }

    private static double TableFactor(ModelConfigFile config, OptionReader values, string type, int length)
    {
        var factor = values.Number("factor", 1);
        double? given = type is "yarn" or "longrope" ? values.OptionalNumber("attention_factor") : 1;
        if (given is not null)
            return given.Value;
        if (type == "yarn")
        {
            var (one, all) = (values.OptionalNumber("mscale") ?? 0, values.OptionalNumber("mscale_all_dim") ?? 0);
            return one != 0 && all != 0 ? YarnFactor(factor, one) / YarnFactor(factor, all) : YarnFactor(factor, 1);
        }

        var isGiven = config.Has("original_max_position_embeddings") || config.ModelType == "phi3"
            || !values.Has("factor");
        var stretch = isGiven ? (double)config.Int("max_position_embeddings", length) / length : factor;
        return stretch <= 1 || length <= 1 ? 1 : Math.Sqrt(1 + (Math.Log(stretch) / Math.Log(length)));
    }

    private static double YarnFactor(double factor, double scale) =>
        factor <= 1 ? 1 : (0.1 * scale * Math.Log(factor)) + 1;

    private static string Type(string modelType, OptionReader values)
    {
        var type = values.OptionalText("rope_type") ?? values.OptionalText("type") ?? "default";
        if (type == "su" || type == "yarn" && modelType == "phi3")
            return "longrope"; // older names in phi3's files
        if (Types.Contains(type))
            return type;
        var near = NearestName.Of(type, Types);
        var advice = near is null ? null : $"did you mean {near}?";
        values.Fault(values.Has("rope_type") ? "rope_type" : "type", Quote.Of(type), Words.OneOf(Types), advice);
        return "default";
    }

    private static List<double> Factors(OptionReader values, string key)
    {
        var factors = new List<double>();
        foreach (var item in (values.Node(key) as ConfigList)?.Items ?? [])
        {
            if (item is ConfigScalar scalar && scalar.TryNumber(out var factor) && factor > 0)
                factors.Add(factor);
            else
                values.Fault(key, item.Describe(), "numbers above 0");
        }

        return factors;
    }

    private static void Check(ModelConfigFile config, OptionReader values, string key, RopeParameters rope)
    {
        if (rope.Theta <= 0)
            config.Fault("rope_theta", $"{rope.Theta}", "a number above 0");
        if (rope.Type is "linear" or "dynamic" or "llama3" or "yarn" && !values.Has("factor"))
            values.Fault("factor", "missing", $"how far {rope.Type} stretches the context");
        if (rope.Factor <= 0)
            values.Fault("factor", $"{rope.Factor}", "a number above 0");
        if (rope.PartialRotaryFactor is <= 0 or > 1)
            config.Fault("partial_rotary_factor", $"{rope.PartialRotaryFactor}", "a number above 0 and at most 1");
        var isOrdered = rope.LowFreqFactor > 0 && rope.HighFreqFactor > rope.LowFreqFactor;
        if (rope.Type == "llama3" && !isOrdered)
        {
            var found = $"low_freq_factor {rope.LowFreqFactor}, high_freq_factor {rope.HighFreqFactor}";
            config.Fault(key, found, "0 < low_freq_factor < high_freq_factor");
        }

        if (rope.Type == "longrope" && (rope.LongFactor.Count == 0 || rope.LongFactor.Count != rope.ShortFactor.Count))
        {
            var found = $"{rope.LongFactor.Count} long and {rope.ShortFactor.Count} short factors";
            config.Fault(key, found, "equally many of both, at least one");
        }
    }
}
