using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models.Layers;
using Peft.Models.Loading;

namespace Peft.Models.Llama;

/// <summary>The Llama family: a stack of pre-norm blocks with rotary positions. Llama, Mistral, Qwen2 and Qwen3 differ
/// in their config only.</summary>
/// <remarks>Source: Touvron et al. 2023, arXiv:2302.13971, §2.2.</remarks>
public sealed class LlamaModel : CausalLanguageModel
{
    private readonly TokenEmbedding _embedding;
    private readonly IReadOnlyList<DecoderBlock> _blocks;
    private readonly RmsNorm _norm;
    private readonly RotaryEmbedding _rotary;

    /// <summary>Takes every tensor from a source of weights.</summary>
    public LlamaModel(DecoderConfig config, WeightSource weights)
        : base(config, weights)
    {
        var model = RegisterModule("model", new ModuleGroup("model"));
        _embedding = model.Add(
            "embed_tokens",
            new TokenEmbedding(weights, "model.embed_tokens", config.VocabularySize, config.HiddenSize));
        var layers = model.Add("layers", new ModuleGroup("model.layers"));
        _blocks = [.. Enumerable.Range(0, config.LayerCount).Select(layer =>
            layers.Add($"{layer}", new DecoderBlock(config, weights, $"model.layers.{layer}", layer)))];
        _norm = model.Add("norm", new RmsNorm(weights, "model.norm", config.HiddenSize, config.RmsNormEpsilon));
        _rotary = new RotaryEmbedding(config.Rope, config.HeadSize);
        // Older checkpoints carry the frequencies, some of them before scaling.
        var unscaled = new RotaryEmbedding(config.Rope with { Type = "default" }, config.HeadSize).Frequencies;
        foreach (var name in Enumerable.Range(0, config.LayerCount).Select(layer => $"model.layers.{layer}.self_attn.")
            .Append("model."))
            weights.Expect(
                $"{name}rotary_emb.inv_freq", "config.json's rotary embedding", _rotary.Frequencies, unscaled);
        var head = RegisterModule("lm_head", config.TieWordEmbeddings
            ? new BaseLinear("lm_head", _embedding.Weight)
            : BaseLinear.From(weights, "lm_head", config.HiddenSize, config.VocabularySize, hasBias: false));
        HeadSlot = new ProjectionSlot(head, wrapped => ReplaceModule("lm_head", wrapped));
    }

    /// <inheritdoc/>
    protected override ProjectionSlot HeadSlot { get; }

    /// <inheritdoc/>
    protected override IEnumerable<ProjectionSlot> BlockSlots => _blocks.SelectMany(block => block.Slots);

    /// <summary>A catalog line for one <c>model_type</c> of this family.</summary>
    public static ModelFamily Family(string modelType, Func<ModelConfigFile, DecoderConfig> readConfig) =>
        new(modelType, readConfig, (config, weights) => new LlamaModel((DecoderConfig)config, weights),
        [".rotary_emb.inv_freq"]);

    /// <inheritdoc/>
    /// <remarks>Shapes: ids [B, T] int64 → [B, T, D].</remarks>
    protected override Tensor RunBlocks(Tensor ids, ForwardPass pass)
    {
        var context = SequenceContext.For(_rotary, ids, pass);
        var hidden = _embedding.Forward(ids);
        using var memory = new WorkMemory();
        foreach (var block in _blocks)
        {
            if (pass.IsInference && block.RunInPlace(hidden, context, pass, memory))
                continue;
            hidden = RunBlock(hidden, pass, block, (input, run) => block.Forward(input, context, run));
        }

        return _norm.Forward(hidden);
    }
}

/// <summary>How the members of the Llama family read config.json. Absent keys get the default of the member's own class
/// in transformers.</summary>
public static class LlamaConfig
{
    private const int MostLayers = 4096; // ten times the deepest that was ever published
    private const string Full = "full_attention";
    private const string Sliding = "sliding_attention";

    /// <summary>Reads a <c>llama</c> config.</summary>
    public static DecoderConfig FromLlama(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        var config = Read(file, null, null, bias, bias) with { FeedForwardBias = file.Bool("mlp_bias", false) };
        return config.Checked();
    }

    /// <summary>Reads a <c>mistral</c> config: every layer slides when there is a window.</summary>
    public static DecoderConfig FromMistral(ModelConfigFile file)
    {
        var window = !file.Map.Keys.Contains("sliding_window") ? 4096 : file.OptionalInt("sliding_window");
        var config = Read(file, 8, null, false, false);
        return (config with { Windows = WindowsOf(file, config.LayerCount, _ => window) }).Checked();
    }

    /// <summary>Reads a <c>qwen2</c> config: q, k and v always have biases, and the window is off unless it is asked
    /// for.</summary>
    public static DecoderConfig FromQwen2(ModelConfigFile file)
    {
        var config = Read(file, null, null, true, false);
        return (config with { Windows = UpperWindows(file, config.LayerCount) }).Checked();
    }

    /// <summary>Reads a <c>qwen3</c> config: heads of q and k are normalised, and are 128 wide unless the config says
    /// otherwise.</summary>
    public static DecoderConfig FromQwen3(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        var config = Read(file, null, 128, bias, bias);
        return (config with { NormalizesQueryAndKey = true, Windows = UpperWindows(file, config.LayerCount) })
            .Checked();
    }

    private static DecoderConfig Read(
        ModelConfigFile file, int? keyValueHeads, int? headSize, bool queryKeyValueBias, bool outputBias)
    {
        var heads = file.RequiredInt("num_attention_heads");
        var hidden = file.RequiredInt("hidden_size");
        var layers = file.RequiredInt("num_hidden_layers");
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
        if (!file.Has("layer_types"))
            return [.. Enumerable.Range(0, layers).Select(rule)];
        var types = file.Texts("layer_types");
        if (types.Count != layers)
            file.Fault("layer_types", Words.Count(types.Count, "entry", "entries"), $"{layers}, one for each layer");
        foreach (var unknown in types.Where(type => type is not (Full or Sliding)).Distinct())
            file.Fault("layer_types", $"'{unknown}'", Words.OneOf([Full, Sliding]));
        var window = types.Contains(Sliding) ? file.OptionalInt("sliding_window") : null;
        if (types.Contains(Sliding) && window is null)
            file.Fault("sliding_window", "missing", $"a number of tokens, because layer_types has {Sliding}");
        return [.. Enumerable.Range(0, layers)
            .Select(layer => layer < types.Count && types[layer] == Sliding ? window : null)];
    }
}
