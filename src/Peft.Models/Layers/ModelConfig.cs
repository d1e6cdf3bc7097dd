using System.Globalization;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>What every model knows about itself, whatever its family; read once from config.json.</summary>
public abstract record ModelConfig
{
    /// <summary>The config.json this came from.</summary>
    public required ModelConfigFile File { get; init; }

    /// <summary>Hugging Face's <c>model_type</c>.</summary>
    public required string ModelType { get; init; }

    /// <summary>Rows of the embedding table.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Number of blocks.</summary>
    public required int LayerCount { get; init; }

    /// <summary>Number of query heads.</summary>
    public required int HeadCount { get; init; }

    /// <summary>Number of key and value heads.</summary>
    public required int KeyValueHeadCount { get; init; }

    /// <summary>Width of one head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Width inside the feed-forward.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>The longest sequence the model was made for, in tokens.</summary>
    public required int MaxPositionEmbeddings { get; init; }

    /// <summary>True when the head is the embedding table.</summary>
    public required bool TieWordEmbeddings { get; init; }

    /// <summary>Standard deviation of freshly drawn weights.</summary>
    public required double InitializerRange { get; init; }

    /// <summary>Tokens that end a text; generation_config.json's where there is one.</summary>
    public required IReadOnlyList<int> EosTokenIds { get; init; }

    /// <summary>The token that begins a text, or null.</summary>
    public int? BosTokenId { get; init; }

    /// <summary>The token that fills rows, or null.</summary>
    public int? PadTokenId { get; init; }

    /// <summary>Everything that changes the function the weights compute, as one line: equal for v4 and v5 spellings of
    /// one model.</summary>
    public abstract string Essentials { get; }

    /// <summary>Refuses token ids that the embedding table does not have.</summary>
    /// <exception cref="UserException">An id is negative or not below <see cref="VocabularySize"/>.</exception>
    public void CheckIds(IEnumerable<int> ids)
    {
        var position = 0;
        foreach (var id in ids)
        {
            if (id < 0 || id >= VocabularySize)
            {
                throw UserException.At(
                    "token ids", $"{id} at position {position}",
                    $"ids from 0 to {VocabularySize - 1}, which this {ModelType} model has",
                    "use the tokenizer that belongs to the base model");
            }

            position++;
        }
    }
}

/// <summary>The config of a decoder of pre-norm blocks with rotary positions, as <see cref="DecoderBlock"/> takes
/// it.</summary>
public sealed record DecoderConfig : ModelConfig
{
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

    /// <summary>True when <see cref="ModelConfig.HeadSize"/> is the width divided by the heads, because nothing else
    /// says it.</summary>
    public bool HeadsDivideWidth { get; init; }

    /// <summary>Tokens each layer sees, the current one included; null where it sees everything before it.</summary>
    public required IReadOnlyList<int?> Windows { get; init; }

    /// <inheritdoc/>
    public override string Essentials => string.Create(
        CultureInfo.InvariantCulture,
        $"llama-family heads={HeadCount}/{KeyValueHeadCount} head_size={HeadSize} eps={RmsNormEpsilon} " +
        $"tied={TieWordEmbeddings} qk_norm={NormalizesQueryAndKey} rope={Rope.Type}/{Rope.Theta}/{RopeScaling()} " +
        $"windows={string.Join(',', Windows.Select(WindowText))}");

    private static string WindowText(int? window) => window?.ToString(CultureInfo.InvariantCulture) ?? "all";

    /// <summary>Refuses what no block here computes: every fault of the file and of these values, all at
    /// once.</summary>
    /// <exception cref="FaultsException">There is at least one fault.</exception>
    public DecoderConfig Checked()
    {
        File.ThrowIfFaulty(); // missing keys first: what follows would only repeat them
        foreach (var (key, value) in Sizes().Where(size => size.Value is < 1 or > ModelConfigFile.LargestSize))
            File.Fault(key, $"{value}", $"a whole number from 1 to {ModelConfigFile.LargestSize}");
        if (KeyValueHeadCount > 0 && HeadCount % KeyValueHeadCount != 0)
        {
            File.Fault(
                "num_attention_heads", $"{HeadCount}, with num_key_value_heads {KeyValueHeadCount}",
                "a multiple of num_key_value_heads");
        }

        if (HeadsDivideWidth && (long)HeadSize * HeadCount != HiddenSize)
        {
            File.Fault(
                "hidden_size", $"{HiddenSize}, with num_attention_heads {HeadCount}",
                "a multiple of num_attention_heads, or a head_dim");
        }

        if (HeadSize % 2 != 0)
            File.Fault("head_dim", $"{HeadSize}", "an even number: rotary positions turn pairs");
        if (File.Text("hidden_act", "silu") is var activation && !SiluNames.Contains(activation))
            File.Fault("hidden_act", $"'{activation}'", "silu");
        if (!RotaryEmbedding.SupportedTypes.Contains(Rope.Type))
            File.Fault("rope_scaling", $"type '{Rope.Type}'", Words.OneOf(RotaryEmbedding.SupportedTypes));
        if (Rope.PartialRotaryFactor != 1)
            File.Fault("partial_rotary_factor", Text(Rope.PartialRotaryFactor), "1");
        if (File.Has("quantization_config"))
        {
            File.Fault(
                "quantization_config", "a quantized checkpoint", "float32, bfloat16 or float16 weights",
                "use the checkpoint it was made from");
        }

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

/// <summary>One supported <c>model_type</c>: how its config is read and how the model is built from weights.</summary>
/// <param name="ModelType">Hugging Face's <c>model_type</c>.</param>
/// <param name="ReadConfig">Reads config.json; collects every fault before it throws.</param>
/// <param name="Build">Builds the model, taking each tensor by name from the source.</param>
/// <param name="IgnoredSuffixes">Ends of the names of tensors that checkpoints may carry and the model computes
/// itself.</param>
public sealed record ModelFamily(
    string ModelType,
    Func<ModelConfigFile, ModelConfig> ReadConfig,
    Func<ModelConfig, WeightSource, CausalLanguageModel> Build,
    IReadOnlyList<string> IgnoredSuffixes);
