using System.Globalization;
using Peft.Formats;
using Peft.Formats.HuggingFace;

namespace Peft.Models.Layers;

/// <summary>Over what q and k are normalised before they are turned.</summary>
public enum QueryKeyNorm
{
    /// <summary>They are not.</summary>
    None,

    /// <summary>Each head, all with one scale: Qwen3, Gemma 3.</summary>
    PerHead,

    /// <summary>The whole width, before heads are cut: OLMo 2.</summary>
    WholeWidth,

    /// <summary>Each head with a row of the scale: Cohere.</summary>
    ScalePerHead,

    /// <summary>Each head with a tensor of its own: StableLM.</summary>
    TensorPerHead,
}

/// <summary>How the rows of a projection lie that holds q, k and v.</summary>
public enum FusedLayout
{
    /// <summary>All of q, then all of k, then all of v.</summary>
    Blocks,

    /// <summary>For each key head its queries, then its key, then its value.</summary>
    Groups,
}

/// <summary>What the parts of an attention are called.</summary>
/// <param name="Block">Its own name in a block.</param>
/// <param name="Output">The projection after it.</param>
/// <param name="Fused">The projection to q, k and v together; null: q_proj, k_proj and v_proj.</param>
/// <param name="Layout">How the rows of <paramref name="Fused"/> lie.</param>
public sealed record AttentionNames(
    string Block = "self_attn", string Output = "o_proj", string? Fused = null, FusedLayout Layout = FusedLayout.Blocks)
{
    /// <summary>The norm of q, where there is one.</summary>
    public string QueryNorm { get; init; } = "q_norm";

    /// <summary>The norm of k, where there is one.</summary>
    public string KeyNorm { get; init; } = "k_norm";
}

/// <summary>What the parts of a feed-forward are called.</summary>
/// <param name="Block">Its own name in a block; empty: its parts are the block's.</param>
/// <param name="Gate">The gate; null: there is none, or it is in <paramref name="GateUp"/>.</param>
/// <param name="Up">The projection to the inner width.</param>
/// <param name="Down">The projection back.</param>
/// <param name="GateUp">Gate and up as one projection, in this order; null: they are apart.</param>
public sealed record FeedForwardNames(
    string Block = "mlp", string? Gate = "gate_proj", string Up = "up_proj", string Down = "down_proj",
    string? GateUp = null);

/// <summary>The norms of a block by name; null where there is none.</summary>
public sealed record BlockNorms(
    string? BeforeAttention = "input_layernorm", string? AfterAttention = null,
    string? BeforeFeedForward = "post_attention_layernorm", string? AfterFeedForward = null);

/// <summary>What the parts of a decoder are called in files and by adapters.</summary>
public sealed record DecoderNames
{
    /// <summary>What holds everything but the head.</summary>
    public string Model { get; init; } = "model";

    /// <summary>The table of token vectors.</summary>
    public string Embedding { get; init; } = "embed_tokens";

    /// <summary>The table of position vectors; null: there is none.</summary>
    public string? Positions { get; init; }

    /// <summary>The list of blocks.</summary>
    public string Layers { get; init; } = "layers";

    /// <summary>The norm after the blocks; null: there is none.</summary>
    public string? FinalNorm { get; init; } = "norm";

    /// <summary>The projection of token vectors to the stream, where their width is another.</summary>
    public string ProjectIn { get; init; } = "project_in";

    /// <summary>The projection of the stream to what the head takes, where its width is another.</summary>
    public string ProjectOut { get; init; } = "project_out";

    /// <summary>The output head.</summary>
    public string Head { get; init; } = "lm_head";

    /// <summary>The norms of a block.</summary>
    public BlockNorms Norms { get; init; } = new();

    /// <summary>The attention of a block.</summary>
    public AttentionNames Attention { get; init; } = new();

    /// <summary>The feed-forward of a block.</summary>
    public FeedForwardNames FeedForward { get; init; } = new();

    /// <summary>A path one level down; the same level for an empty name.</summary>
    public static string Join(string path, string name) => name.Length == 0 ? path : $"{path}.{name}";
}

/// <summary>The config of a decoder, as <see cref="DecoderModel"/> takes it. What is not said is as in Llama.</summary>
public sealed record DecoderConfig : ModelConfig
{
    /// <summary>What the parts are called.</summary>
    public DecoderNames Names { get; init; } = new();

    /// <summary>How activations are normalised.</summary>
    public NormKind Norm { get; init; }

    /// <summary>Added to the mean square, or the variance, in every norm.</summary>
    public required double NormEpsilon { get; init; }

    /// <summary>True when attention and feed-forward both read the block's input.</summary>
    public bool IsParallel { get; init; }

    /// <summary>Base and scaling of the rotary frequencies; null: no head is turned.</summary>
    public required RopeParameters? Rope { get; init; }

    /// <summary>Those of layers with a window, where they differ.</summary>
    public RopeParameters? WindowRope { get; init; }

    /// <summary>Whether each layer turns its heads; null: all do.</summary>
    public IReadOnlyList<bool>? TurningLayers { get; init; }

    /// <summary>True when neighbours are turned as pairs, not halves of a head.</summary>
    public bool TurnsNeighbors { get; init; }

    /// <summary>True when a part of each head may be turned alone.</summary>
    public bool MayTurnPartly { get; init; }

    /// <summary>True when each head's scores fall with the distance of the key (ALiBi).</summary>
    public bool HasAlibi { get; init; }

    /// <summary>Width of token vectors and of what the head takes; null: that of the stream.</summary>
    public int? EmbeddingSize { get; init; }

    /// <summary>True when a norm after a half of a block is of its sum with the block's input.</summary>
    public bool NormalizesSums { get; init; }

    /// <summary>Rows of the position table before that of position 0.</summary>
    public int PositionOffset { get; init; }

    /// <summary>True when q, k and v have biases.</summary>
    public required bool QueryKeyValueBias { get; init; }

    /// <summary>True when the attention output has a bias.</summary>
    public required bool OutputBias { get; init; }

    /// <summary>True when the feed-forward projections have biases.</summary>
    public bool FeedForwardBias { get; init; }

    /// <summary>True when files hold matrices as [inputs, outputs].</summary>
    public bool StoresInputsFirst { get; init; }

    /// <summary>Over what q and k are normalised.</summary>
    public QueryKeyNorm QueryKeyNorm { get; init; }

    /// <summary>q, k and v are clamped to this, both ways; null: they are not.</summary>
    public double? ProjectionLimit { get; init; }

    /// <summary>Factor of the scores; null: one over the root of the head's width.</summary>
    public double? AttentionScale { get; init; }

    /// <summary>True when the scores are divided by the number of the layer, counted from 1, too.</summary>
    public bool DividesScoresByLayer { get; init; }

    /// <summary>Scores become <c>cap tanh(scores / cap)</c>; null: they stay.</summary>
    public double? AttentionSoftCap { get; init; }

    /// <summary>Factor of the token vectors.</summary>
    public double EmbeddingMultiplier { get; init; } = 1;

    /// <summary>True when the factor of the token vectors is rounded to their type before it multiplies.</summary>
    public bool RoundsEmbeddingMultiplier { get; init; }

    /// <summary>Factor of what each half of a block adds.</summary>
    public double ResidualMultiplier { get; init; } = 1;

    /// <summary>The feed-forward's non-linearity, by Hugging Face's name.</summary>
    public string Activation { get; init; } = "silu";

    /// <summary>The key that says it.</summary>
    public string ActivationKey { get; init; } = "hidden_act";

    /// <summary>Experts of the feed-forward; null: there are none.</summary>
    public BaseExperts? Experts { get; init; }

    /// <summary>True when <see cref="ModelConfig.HeadSize"/> is the width divided by the heads, because nothing else
    /// says it.</summary>
    public bool HeadsDivideWidth { get; init; }

    /// <summary>Tokens each layer sees, the current one included; null where it sees everything before it.</summary>
    public required IReadOnlyList<int?> Windows { get; init; }

    /// <inheritdoc/>
    public override long InnerWidths => Experts is not { } experts ? base.InnerWidths
        : experts.Layers.Sum(sparse => sparse
            ? ((long)experts.Chosen * experts.IntermediateSize) + (experts.SharedIntermediateSize ?? 0)
            : IntermediateSize);

    /// <inheritdoc/>
    /// <remarks>Each half of a block keeps its input, a norm after it what it gets, and a norm before it what it gives
    /// where that is not computed again as Llama's is. What is composed of several operations keeps more than Llama's
    /// kernels do.</remarks>
    public override (long Own, long Wide) KeptBeyondLlama
    {
        get
        {
            var names = Names.Norms;
            var before = new[] { names.BeforeAttention, names.BeforeFeedForward }.Count(norm => norm is not null);
            var after = new[] { names.AfterAttention, names.AfterFeedForward }.Count(norm => norm is not null);
            var given = Norm == NormKind.Rms ? 0 : before;
            var copied = Norm == NormKind.RmsPlusOne ? before + after : 0; // in float32, in place of what the norm gets
            var heads = QueryKeyNorm == QueryKeyNorm.None ? 0L : (long)(HeadCount + KeyValueHeadCount) * HeadSize;
            var experts = Experts is { } some ? 2L * some.Chosen * HiddenSize : 0; // rows in and out
            var isPlain = Experts is null && Names.FeedForward is { Gate: null, GateUp: null };
            var activated = Layers.Activation.KeptBeyondSwiGlu(Activation, !isPlain) * InnerWidths / LayerCount;
            return (
                ((long)(given + after - copied - (IsParallel ? 1 : 0)) * HiddenSize) + heads + experts + activated,
                copied * (long)HiddenSize);
        }
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> DefaultTargets =>
        Names.Attention.Fused is { } fused ? [fused] : base.DefaultTargets;

    /// <inheritdoc/>
    public override string EmbeddingName => $"{Names.Model}.{Names.Embedding}.weight";

    /// <inheritdoc/>
    public override string HeadName => $"{Names.Head}.weight";

    /// <summary>The kinds of rotary embedding, as <see cref="RotaryAt"/> counts them.</summary>
    public IReadOnlyList<RopeParameters> Ropes =>
        Rope is null ? [] : WindowRope is null ? [Rope] : [Rope, WindowRope];

    /// <summary>Which of <see cref="Ropes"/> turns a layer's heads; null: none.</summary>
    public int? RotaryAt(int layer) => Rope is null || TurningLayers is { } turning && !turning[layer] ? null
        : WindowRope is not null && Windows[layer] is not null ? 1 : 0;

    /// <summary>Factor of a layer's scores.</summary>
    public double ScaleAt(int layer) =>
        (AttentionScale ?? (1.0 / Math.Sqrt(HeadSize))) / (DividesScoresByLayer ? layer + 1 : 1);

    /// <summary>Whether a layer is a block as Llama has it, so that there is a kernel for the whole of it.</summary>
    public bool IsPlainAt(int layer) =>
        Norm == NormKind.Rms && Names.Norms == new BlockNorms() && !IsParallel && ResidualMultiplier == 1
        && Names.Attention.Fused is null && RotaryAt(layer) == 0 && !TurnsNeighbors && AttentionSoftCap is null
        && QueryKeyNorm is QueryKeyNorm.None or QueryKeyNorm.PerHead && ProjectionLimit is null
        && Names.FeedForward.Gate is not null && Layers.Activation.IsSilu(Activation)
        && (Experts is null || !Experts.Layers[layer]);

    /// <inheritdoc/>
    public override string Essentials => string.Create(
        CultureInfo.InvariantCulture,
        $"llama-family heads={HeadCount}/{KeyValueHeadCount} head_size={HeadSize} eps={NormEpsilon} " +
        $"tied={TieWordEmbeddings} qk_norm={QueryKeyNorm == QueryKeyNorm.PerHead} " +
        $"rope={(Rope is null ? "none" : $"{Rope.Type}/{Text(Rope.Theta)}/{RopeScaling(Rope)}")} " +
        $"windows={string.Join(',', Windows.Select(WindowText))}") + Others();

    // Only what differs from Llama, so that a Llama's line, and so its fingerprint, stays as it was.
    private string Others()
    {
        var plain = new DecoderConfig
        {
            File = File, ModelType = ModelType, VocabularySize = VocabularySize, HiddenSize = HiddenSize,
            LayerCount = LayerCount, HeadCount = HeadCount, KeyValueHeadCount = KeyValueHeadCount, HeadSize = HeadSize,
            IntermediateSize = IntermediateSize, MaxPositionEmbeddings = MaxPositionEmbeddings,
            TieWordEmbeddings = TieWordEmbeddings, InitializerRange = InitializerRange, EosTokenIds = EosTokenIds,
            NormEpsilon = NormEpsilon, Rope = Rope, QueryKeyValueBias = QueryKeyValueBias, OutputBias = OutputBias,
            Windows = Windows,
        };
        var (own, usual) = (Differing().ToArray(), plain.Differing().ToArray());
        return string.Concat(own.Where((part, i) => part != usual[i]).Select(part => " " + part));
    }

    private IEnumerable<string> Differing() =>
    [
        $"names={Names}", $"norm={Norm}", $"parallel={IsParallel}",
        $"window_rope={(WindowRope is { } rope ? $"{rope.Type}/{Text(rope.Theta)}/{RopeScaling(rope)}" : "none")}",
        $"turning={string.Join(',', TurningLayers ?? [])}", $"neighbors={TurnsNeighbors}",
        $"partial={Text(Rope?.PartialRotaryFactor ?? 1)}", $"offset={PositionOffset}",
        $"alibi={HasAlibi}", $"embedding={EmbeddingSize ?? HiddenSize}", $"sums={NormalizesSums}",
        $"qk={(QueryKeyNorm == QueryKeyNorm.PerHead ? QueryKeyNorm.None : QueryKeyNorm)}",
        $"limit={Text(ProjectionLimit ?? 0)}", $"scale={Text(AttentionScale ?? 0)}/{DividesScoresByLayer}",
        $"caps={Text(AttentionSoftCap ?? 0)}/{Text(LogitSoftCap ?? 0)}",
        $"multipliers={Text(EmbeddingMultiplier)}/{Text(ResidualMultiplier)}/{Text(LogitScale)}",
        $"activation={(Layers.Activation.IsSilu(Activation) ? "silu" : Activation)}",
        $"experts={(Experts is { } e ? $"{e.Chosen}/{e.Renormalizes}/{string.Join(',', e.Layers)}" : "none")}",
    ];

    private static string WindowText(int? window) => window?.ToString(CultureInfo.InvariantCulture) ?? "all";

    private static string RopeScaling(RopeParameters rope) => rope.Type switch
    {
        "linear" => Text(rope.Factor),
        "dynamic" => $"{Text(rope.Factor)},{rope.OriginalMaxPositionEmbeddings}",
        "llama3" => string.Create(
            CultureInfo.InvariantCulture,
            $"{rope.Factor},{rope.LowFreqFactor},{rope.HighFreqFactor},{rope.OriginalMaxPositionEmbeddings}"),
        "yarn" => string.Create(
            CultureInfo.InvariantCulture,
            $"{rope.Factor},{rope.BetaFast},{rope.BetaSlow},{rope.OriginalMaxPositionEmbeddings},{rope.Truncates},")
            + Text(rope.TableFactor),
        "longrope" => $"{Text(rope.TableFactor)},{rope.OriginalMaxPositionEmbeddings},"
            + string.Join(',', rope.ShortFactor.Concat(rope.LongFactor).Select(Text)),
        _ => "none",
    };

    private static string Text(double value) => value.ToString(CultureInfo.InvariantCulture);

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

        if (Layers.Activation.Of(Activation) is null)
            File.Fault(ActivationKey, $"'{Activation}'", Words.OneOf(Layers.Activation.Names));
        foreach (var rope in Ropes)
            CheckRope(rope);
        if (Experts is { } experts && (experts.Chosen < 1 || experts.Chosen > experts.Count))
            File.Fault("num_experts_per_tok", $"{experts.Chosen}, with {experts.Count} experts", "1 up to all of them");
        if (File.Has("quantization_config"))
        {
            File.Fault(
                "quantization_config", "a quantized checkpoint", "float32, bfloat16 or float16 weights",
                "use the checkpoint it was made from");
        }

        File.ThrowIfFaulty();
        // With dynamic scaling the file says the context before it is stretched.
        return Rope is { Type: "dynamic", Factor: > 1 } dynamic
            ? this with { MaxPositionEmbeddings = (int)Math.Min(int.MaxValue, MaxPositionEmbeddings * dynamic.Factor) }
            : this;
    }

    private void CheckRope(RopeParameters rope)
    {
        if (!MayTurnPartly && rope.PartialRotaryFactor != 1)
        {
            File.Fault("partial_rotary_factor", Text(rope.PartialRotaryFactor), "1");
            return;
        }

        var size = RotaryEmbedding.SizeOf(rope, HeadSize);
        if (rope.PartialRotaryFactor == 1 && size % 2 != 0)
            File.Fault("head_dim", $"{HeadSize}", "an even number: rotary positions turn pairs");
        else if (size < 2 || size % 2 != 0)
        {
            File.Fault(
                "partial_rotary_factor", $"{Text(rope.PartialRotaryFactor)}, which turns {size} of {HeadSize}",
                "an even number of at least 2: rotary positions turn pairs");
        }

        if (rope.Type == "longrope" && rope.LongFactor.Count != size / 2)
        {
            File.Fault(
                "rope_scaling", $"{rope.LongFactor.Count} long factors", $"{size / 2}, one a pair that is turned");
        }

        if (rope.Type == "dynamic" && size <= 2)
            File.Fault("rope_scaling", $"type 'dynamic' over {size} of each head", "more than 2");
    }

    private IEnumerable<(string Key, int Value)> Sizes() =>
    [
        ("vocab_size", VocabularySize), ("hidden_size", HiddenSize), ("num_hidden_layers", LayerCount),
        ("num_attention_heads", HeadCount), ("num_key_value_heads", KeyValueHeadCount), ("head_dim", HeadSize),
        ("intermediate_size", IntermediateSize), ("max_position_embeddings", MaxPositionEmbeddings),
        ("word_embed_proj_dim", EmbeddingSize ?? HiddenSize),
        .. Windows.OfType<int>().Distinct().Select(window => ("sliding_window", window)),
        .. Experts is { } experts
            ? new[] { ("num_experts", experts.Count), ("moe_intermediate_size", experts.IntermediateSize) } : [],
    ];
}
