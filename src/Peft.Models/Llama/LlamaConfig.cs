using System.Globalization;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models.Layers;

namespace Peft.Models.Llama;

/// <summary>What tells the members of the Llama family apart. Absent keys get the default of the member's own class in transformers.</summary>
public sealed record LlamaConfig : ModelConfig
{
    private const int MostLayers = 4096; // ten times the deepest that was ever published
    private static readonly string[] SiluNames = ["silu", "swish"];

    /// <summary>Added to the mean square in every norm.</summary>
    public required double RmsNormEpsilon { get; init; }

    /// <summary>Base and scaling of the rotary frequencies.</summary>
    public required RopeParameters Rope { get; init; }

    /// <summary>True when q, k and v have biases.</summary>
    public required bool QueryKeyValueBias { get; init; }

    /// <summary>True when the attention output has a bias.</summary>
    public required bool OutputBias { get; init; }

    /// <summary>True when the feed-forward projections have biases.</summary>
    public bool FeedForwardBias { get; init; }

    /// <summary>True when each head of q and k is normalised before the rotation.</summary>
    public bool NormalizesQueryAndKey { get; init; }

    /// <summary>Tokens each layer sees, the current one included; null where it sees everything before it.</summary>
    public required IReadOnlyList<int?> Windows { get; init; }

    /// <inheritdoc/>
    public override string Essentials => string.Create(
        CultureInfo.InvariantCulture,
        $"llama-family heads={HeadCount}/{KeyValueHeadCount} head_size={HeadSize} eps={RmsNormEpsilon} tied={TieWordEmbeddings} " +
        $"qk_norm={NormalizesQueryAndKey} rope={Rope.Type}/{Rope.Theta}/{RopeScaling()} " +
        $"windows={string.Join(',', Windows.Select(window => window?.ToString(CultureInfo.InvariantCulture) ?? "all"))}");

    /// <summary>Reads a <c>llama</c> config.</summary>
    public static LlamaConfig FromLlama(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        var config = Read(file, null, null, bias, bias) with { FeedForwardBias = file.Bool("mlp_bias", false) };
        return config.Checked();
    }

    /// <summary>Reads a <c>mistral</c> config: every layer slides when there is a window.</summary>
    public static LlamaConfig FromMistral(ModelConfigFile file)
    {
        var window = !file.Map.Keys.Contains("sliding_window") ? 4096 : file.OptionalInt("sliding_window");
        var config = Read(file, 8, null, false, false);
        return (config with { Windows = WindowsOf(file, config.LayerCount, _ => window) }).Checked();
    }

    /// <summary>Reads a <c>qwen2</c> config: q, k and v always have biases, and the window is off unless it is asked for.</summary>
    public static LlamaConfig FromQwen2(ModelConfigFile file)
    {
        var config = Read(file, null, null, true, false);
        return (config with { Windows = UpperWindows(file, config.LayerCount) }).Checked();
    }

    /// <summary>Reads a <c>qwen3</c> config: heads of q and k are normalised, and are 128 wide unless the config says otherwise.</summary>
    public static LlamaConfig FromQwen3(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        var config = Read(file, null, 128, bias, bias);
        return (config with { NormalizesQueryAndKey = true, Windows = UpperWindows(file, config.LayerCount) }).Checked();
    }

    private static LlamaConfig Read(ModelConfigFile file, int? keyValueHeads, int? headSize, bool queryKeyValueBias, bool outputBias)
    {
        var heads = file.RequiredInt("num_attention_heads");
        var hidden = file.RequiredInt("hidden_size");
        var layers = file.RequiredInt("num_hidden_layers");
        if (layers > MostLayers)
        {
            file.Fault("num_hidden_layers", $"{layers}", $"at most {MostLayers}");
            layers = 1;
        }

        var given = !file.Map.Keys.Contains("num_key_value_heads") ? keyValueHeads : file.OptionalInt("num_key_value_heads");
        return new LlamaConfig
        {
            File = file,
            ModelType = file.ModelType,
            VocabularySize = file.RequiredInt("vocab_size"),
            HiddenSize = hidden,
            LayerCount = layers,
            HeadCount = heads,
            KeyValueHeadCount = given ?? heads,
            HeadSize = file.OptionalInt("head_dim") ?? headSize ?? hidden / Math.Max(heads, 1),
            IntermediateSize = file.RequiredInt("intermediate_size"),
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 2048),
            TieWordEmbeddings = file.Bool("tie_word_embeddings", false),
            InitializerRange = file.Number("initializer_range", 0.02),
            EosTokenIds = file.EosTokenIds,
            BosTokenId = file.BosTokenId,
            PadTokenId = file.PadTokenId,
            RmsNormEpsilon = file.Number("rms_norm_eps", 1e-6),
            Rope = file.Rope,
            QueryKeyValueBias = queryKeyValueBias,
            OutputBias = outputBias,
            Windows = WindowsOf(file, layers, _ => null),
        };
    }

    // Qwen: only layers from max_window_layers on slide, and only when use_sliding_window is set.
    private static int?[] UpperWindows(ModelConfigFile file, int layers)
    {
        var window = file.Bool("use_sliding_window", false) ? file.OptionalInt("sliding_window") : null;
        var first = file.Int("max_window_layers", 28);
        return WindowsOf(file, layers, layer => layer >= first ? window : null);
    }

    // An explicit layer_types list (transformers v5) overrules the rule of the family.
    private static int?[] WindowsOf(ModelConfigFile file, int layers, Func<int, int?> rule)
    {
        var windows = new int?[layers];
        var types = file.Texts("layer_types");
        if (types.Count > 0 && types.Count != layers)
        {
            file.Fault(
                "layer_types", Words.Count(types.Count, "layer"), $"one for each of num_hidden_layers, {layers}",
                "copy or download config.json again");
        }

        foreach (var type in types.Distinct().Where(type => type is not ("full_attention" or "sliding_attention")))
            file.Fault("layer_types", Quote.Of(type), "full_attention or sliding_attention");
        if (types.Contains("sliding_attention") && file.OptionalInt("sliding_window") is null)
            file.Fault("sliding_window", "missing", "a number of tokens, since layer_types has sliding_attention");
        for (var layer = 0; layer < layers; layer++)
        {
            windows[layer] = (layer < types.Count ? types[layer] : null) switch
            {
                "full_attention" => null,
                "sliding_attention" => file.OptionalInt("sliding_window"),
                _ => rule(layer),
            };
        }

        return windows;
    }

    private LlamaConfig Checked()
    {
        File.ThrowIfFaulty(); // missing keys first: what follows would only repeat them
        foreach (var (key, value) in Sizes().Where(size => size.Value is < 1 or > ModelConfigFile.LargestSize))
            File.Fault(key, $"{value}", $"a whole number from 1 to {ModelConfigFile.LargestSize}");
        if (KeyValueHeadCount > 0 && HeadCount % KeyValueHeadCount != 0)
            File.Fault("num_attention_heads", $"{HeadCount}, with num_key_value_heads {KeyValueHeadCount}", "a multiple of num_key_value_heads");
        if (!File.Has("head_dim") && ModelType != "qwen3" && (long)HeadSize * HeadCount != HiddenSize)
            File.Fault("hidden_size", $"{HiddenSize}, with num_attention_heads {HeadCount}", "a multiple of num_attention_heads, or a head_dim");
        if (HeadSize % 2 != 0)
            File.Fault("head_dim", $"{HeadSize}", "an even number: rotary positions turn pairs");
        if (File.Text("hidden_act", "silu") is var activation && !SiluNames.Contains(activation))
            File.Fault("hidden_act", $"'{activation}'", "silu");
        if (!RotaryEmbedding.SupportedTypes.Contains(Rope.Type))
            File.Fault("rope_scaling", $"type '{Rope.Type}'", $"one of {string.Join(", ", RotaryEmbedding.SupportedTypes)}");
        if (Rope.PartialRotaryFactor != 1)
            File.Fault("partial_rotary_factor", Text(Rope.PartialRotaryFactor), "1");
        if (File.Has("quantization_config"))
            File.Fault("quantization_config", "a quantized checkpoint", "float32, bfloat16 or float16 weights", "use the checkpoint it was made from");
        File.ThrowIfFaulty();
        return this;
    }

    private IEnumerable<(string Key, int Value)> Sizes() =>
    [
        ("vocab_size", VocabularySize), ("hidden_size", HiddenSize), ("num_hidden_layers", LayerCount),
        ("num_attention_heads", HeadCount), ("num_key_value_heads", KeyValueHeadCount), ("head_dim", HeadSize),
        ("intermediate_size", IntermediateSize), ("max_position_embeddings", MaxPositionEmbeddings),
        .. Windows.OfType<int>().Distinct().Select(window => ("sliding_window", window)),
    ];

    private string RopeScaling() => Rope.Type switch
    {
        "linear" => Text(Rope.Factor),
        "llama3" => string.Create(
            CultureInfo.InvariantCulture,
            $"{Rope.Factor},{Rope.LowFreqFactor},{Rope.HighFreqFactor},{Rope.OriginalMaxPositionEmbeddings}"),
        _ => "none",
    };

    private static string Text(double value) => value.ToString(CultureInfo.InvariantCulture);
}
