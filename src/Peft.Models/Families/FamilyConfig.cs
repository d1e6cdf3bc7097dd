using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models.Layers;

namespace Peft.Models.Families;

/// <summary>What the families' config.json have in common, and how a key that is absent is read: as the family's own
/// class in transformers 4.57 has it.</summary>
internal static class FamilyConfig
{
    private const int MostLayers = 4096; // ten times the deepest that was ever published
    private const string Full = "full_attention";
    private const string Sliding = "sliding_attention";

    /// <summary>Reads what all have, as Llama spells and defaults it.</summary>
    /// <param name="file">The file.</param>
    /// <param name="keyValueHeads">Key heads where the key is absent; null: as many as heads.</param>
    /// <param name="headSize">Width of a head where the key is absent; null: the width divided by the heads.</param>
    /// <param name="bias">Whether q, k and v have biases.</param>
    /// <param name="outputBias">Whether the attention's output has one.</param>
    public static DecoderConfig Read(
        ModelConfigFile file, int? keyValueHeads = null, int? headSize = null, bool bias = false,
        bool outputBias = false)
    {
        var heads = file.RequiredInt("num_attention_heads", "n_head");
        var hidden = file.RequiredInt("hidden_size", "n_embd");
        var layers = file.RequiredInt("num_hidden_layers", "n_layer");
        if (layers > MostLayers)
        {
            file.Fault("num_hidden_layers", $"{layers}", $"at most {MostLayers}");
            layers = 1;
        }

        var given = !file.Map.Keys.Contains("num_key_value_heads") ? keyValueHeads
            : file.OptionalInt("num_key_value_heads");
        return new DecoderConfig
        {
            File = file,
            ModelType = file.ModelType,
            VocabularySize = file.RequiredInt("vocab_size"),
            HiddenSize = hidden,
            LayerCount = layers,
            HeadCount = heads,
            KeyValueHeadCount = given ?? heads,
            HeadSize = file.OptionalInt("head_dim") ?? headSize ?? hidden / Math.Max(heads, 1),
            HeadsDivideWidth = !file.Has("head_dim") && headSize is null,
            IntermediateSize = 1,
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 2048, "n_positions"),
            TieWordEmbeddings = file.Bool("tie_word_embeddings", false),
            InitializerRange = file.Number("initializer_range", 0.02),
            EosTokenIds = file.EosTokenIds,
            BosTokenId = file.BosTokenId,
            PadTokenId = file.PadTokenId,
            NormEpsilon = file.Number("rms_norm_eps", 1e-6),
            Rope = file.Rope,
            WindowRope = file.WindowRope,
            QueryKeyValueBias = bias,
            OutputBias = outputBias,
            Activation = file.Text("hidden_act", "silu"),
            Windows = [.. Enumerable.Range(0, layers).Select(_ => (int?)null)],
        };
    }

    /// <summary>With the required width inside the feed-forward.</summary>
    public static DecoderConfig WithInner(this DecoderConfig config) =>
        config with { IntermediateSize = config.File.RequiredInt("intermediate_size") };

    /// <summary>With rotary embeddings whose base, and turned part, are the family's where the file is
    /// silent.</summary>
    public static DecoderConfig WithRope(this DecoderConfig config, double theta = 10000, double part = 1)
    {
        var file = config.File;
        return config with
        {
            Rope = Own(file.Rope),
            WindowRope = file.WindowRope is { } window ? Own(window) : null,
        };

        RopeParameters Own(RopeParameters rope) => rope with
        {
            Theta = file.SaysAny("rope_theta", "rotary_emb_base") ? rope.Theta : theta,
            PartialRotaryFactor = file.SaysAny("partial_rotary_factor", "rotary_pct")
                ? rope.PartialRotaryFactor : part,
        };
    }

    /// <summary>With head and table tied unless the file says otherwise.</summary>
    public static DecoderConfig TiedByDefault(this DecoderConfig config) =>
        config with { TieWordEmbeddings = config.File.Bool("tie_word_embeddings", true) };

    /// <summary>With the norm's epsilon from a key.</summary>
    public static DecoderConfig WithEpsilon(this DecoderConfig config, string key, double fallback) =>
        config with { NormEpsilon = config.File.Number(key, fallback) };

    /// <summary>With a window in the layers that slide: an explicit <c>layer_types</c> overrules the rule of the
    /// family.</summary>
    public static DecoderConfig WithWindows(
        this DecoderConfig config, int? window = null, Func<int, bool>? slides = null) =>
        config with { Windows = WindowsOf(config.File, config.LayerCount, window, slides ?? (_ => true)) };

    /// <summary>One window for all layers; a null in the file means none.</summary>
    public static int? WindowOr(this ModelConfigFile file, int? fallback) =>
        file.Map.Keys.Contains("sliding_window") ? file.OptionalInt("sliding_window") : fallback;

    /// <summary>Refuses a key whose value changes what the model computes in a way that nothing here does.</summary>
    /// <param name="file">The file.</param>
    /// <param name="key">The key.</param>
    /// <param name="isKnown">Whether the value is one that is computed.</param>
    /// <param name="expected">What is.</param>
    public static void Require(this ModelConfigFile file, string key, bool isKnown, string expected)
    {
        if (!isKnown)
        {
            file.Fault(
                key, $"{file.Map[key]!.Describe()}, which {file.ModelType} models are not computed with here",
                expected);
        }
    }

    private static int?[] WindowsOf(ModelConfigFile file, int layers, int? window, Func<int, bool> slides)
    {
        if (!file.Has("layer_types"))
            return [.. Enumerable.Range(0, layers).Select(layer => slides(layer) ? window : null)];
        var types = file.Texts("layer_types");
        if (types.Count != layers)
            file.Fault("layer_types", Words.Count(types.Count, "entry", "entries"), $"{layers}, one for each layer");
        foreach (var unknown in types.Where(type => type is not (Full or Sliding)).Distinct())
            file.Fault("layer_types", $"'{unknown}'", Words.OneOf([Full, Sliding]));
        var own = window ?? (types.Contains(Sliding) ? file.OptionalInt("sliding_window") : null);
        if (types.Contains(Sliding) && own is null)
            file.Fault("sliding_window", "missing", $"a number of tokens, because layer_types has {Sliding}");
        return [.. Enumerable.Range(0, layers)
            .Select(layer => layer < types.Count && types[layer] == Sliding ? own : null)];
    }
}
