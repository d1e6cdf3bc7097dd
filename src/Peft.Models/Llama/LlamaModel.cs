using Peft.Formats.HuggingFace;
using Peft.Models.Layers;
using Peft.Models.Loading;

namespace Peft.Models.Llama;

/// <summary>The Llama family: a stack of pre-norm blocks with rotary positions. Llama, Mistral, Qwen2 and Qwen3 differ in their config only.</summary>
/// <remarks>Source: Touvron et al. 2023, arXiv:2302.13971, §2.2.</remarks>
public sealed class LlamaModel : CausalLanguageModel
{
    private readonly TokenEmbedding _embedding;
    private readonly IReadOnlyList<DecoderBlock> _blocks;
    private readonly RmsNorm _norm;
    private readonly RotaryEmbedding _rotary;

    /// <summary>Takes every tensor from a source of weights.</summary>
    public LlamaModel(LlamaConfig config, WeightSource weights)
        : base(config, weights)
    {
        var model = RegisterModule("model", new ModuleGroup("model"));
        _embedding = model.Add(
            "embed_tokens", new TokenEmbedding(weights, "model.embed_tokens", config.VocabularySize, config.HiddenSize));
        var layers = model.Add("layers", new ModuleGroup("model.layers"));
        _blocks = [.. Enumerable.Range(0, config.LayerCount).Select(layer =>
            layers.Add($"{layer}", new DecoderBlock(config, weights, $"model.layers.{layer}", layer)))];
        _norm = model.Add("norm", new RmsNorm(weights, "model.norm", config.HiddenSize, config.RmsNormEpsilon));
        _rotary = new RotaryEmbedding(config.Rope, config.HeadSize);
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
    public static ModelFamily Family(string modelType, Func<ModelConfigFile, LlamaConfig> readConfig) =>
        new(modelType, readConfig, (config, weights) => new LlamaModel((LlamaConfig)config, weights), [".rotary_emb.inv_freq"]);

    /// <inheritdoc/>
    /// <remarks>Shapes: ids [B, T] int64 → [B, T, D].</remarks>
    protected override Tensor RunBlocks(Tensor ids, ForwardPass pass)
    {
        var context = SequenceContext.For(_rotary, ids, pass);
        var hidden = _embedding.Forward(ids);
        foreach (var block in _blocks)
            hidden = RunBlock(hidden, pass, block, (input, run) => block.Forward(input, context, run));
        return _norm.Forward(hidden);
    }
}
