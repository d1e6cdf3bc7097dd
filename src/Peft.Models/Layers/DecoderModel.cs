using Peft.Formats.HuggingFace;
using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>A stack of decoder blocks between a table of token vectors and a head. The families differ in their config
/// only.</summary>
/// <remarks>Source: Touvron et al. 2023, arXiv:2302.13971, §2.2, and what each family's file says.</remarks>
public sealed class DecoderModel : CausalLanguageModel
{
    private readonly TokenEmbedding? _positions;
    private readonly IReadOnlyList<DecoderBlock> _blocks;
    private readonly Norm? _norm;
    private readonly ProjectionSlot? _projectIn;
    private readonly ProjectionSlot? _projectOut;
    private readonly IReadOnlyList<RotaryEmbedding> _rotaries;
    private readonly Alibi? _alibi;
    private readonly DecoderConfig _config;

    /// <summary>Takes every tensor from a source of weights.</summary>
    public DecoderModel(DecoderConfig config, WeightSource weights)
        : base(config, weights)
    {
        _config = config;
        var names = config.Names;
        var outer = config.EmbeddingSize ?? config.HiddenSize;
        var model = RegisterModule("model", new ModuleGroup(names.Model));
        Embedding = model.Add(
            names.Embedding,
            new TokenEmbedding(weights, $"{names.Model}.{names.Embedding}", config.VocabularySize, outer));
        if (names.Positions is { } positions)
        {
            _positions = model.Add(positions, new TokenEmbedding(
                weights, $"{names.Model}.{positions}", config.MaxPositionEmbeddings + config.PositionOffset,
                config.HiddenSize));
        }

        if (outer != config.HiddenSize)
        {
            _projectOut = Slot(names.ProjectOut, config.HiddenSize, outer);
            _projectIn = Slot(names.ProjectIn, outer, config.HiddenSize);
        }

        var layers = model.Add("layers", new ModuleGroup($"{names.Model}.{names.Layers}"));
        _blocks = [.. Enumerable.Range(0, config.LayerCount).Select(layer => layers.Add(
            $"{layer}", new DecoderBlock(config, weights, $"{names.Model}.{names.Layers}.{layer}", layer)))];
        _norm = names.FinalNorm is not { } final ? null : model.Add(final, new Norm(
            weights, $"{names.Model}.{final}", config.Norm, config.NormEpsilon, config.HiddenSize));
        _rotaries = [.. config.Ropes.Select(rope => new RotaryEmbedding(rope, config.HeadSize))];
        _alibi = config.HasAlibi ? new Alibi(config.HeadCount, config.ScaleAt(0)) : null;
        ExpectFrequencies(config, weights);
        var head = RegisterModule("lm_head", config.TieWordEmbeddings
            ? new BaseLinear(names.Head, Embedding.Weight)
            : BaseLinear.From(weights, names.Head, outer, config.VocabularySize, hasBias: false));
        HeadSlot = new ProjectionSlot(head, wrapped => ReplaceModule("lm_head", wrapped));

        ProjectionSlot Slot(string name, long inFeatures, long outFeatures) => new(
            model.Add(name, BaseLinear.From(weights, $"{names.Model}.{name}", inFeatures, outFeatures, hasBias: false)),
            wrapped => model.Replace(name, wrapped));
    }

    /// <inheritdoc/>
    public override TokenEmbedding Embedding { get; }

    /// <inheritdoc/>
    protected override ProjectionSlot HeadSlot { get; }

    /// <inheritdoc/>
    protected override IEnumerable<ProjectionSlot> BlockSlots =>
        new[] { _projectOut, _projectIn }.OfType<ProjectionSlot>().Concat(_blocks.SelectMany(block => block.Slots));

    /// <summary>A catalog line for one <c>model_type</c>.</summary>
    /// <param name="modelType">Hugging Face's <c>model_type</c>.</param>
    /// <param name="readConfig">Reads config.json.</param>
    /// <param name="prefix">What names begin with, the head's aside.</param>
    /// <param name="ignoredSuffixes">Further ends of the names of tensors that the model computes itself.</param>
    public static ModelFamily Family(
        string modelType, Func<ModelConfigFile, DecoderConfig> readConfig, string prefix = "model.",
        params IReadOnlyList<string> ignoredSuffixes) =>
        new(modelType, readConfig, (config, weights) => new DecoderModel((DecoderConfig)config, weights),
        [".rotary_emb.inv_freq", .. ignoredSuffixes], prefix);

    /// <inheritdoc/>
    public override Tensor? BalanceLoss(ForwardPass pass, Tensor? mask) =>
        _config.Experts is { BalanceLossFactor: { } factor } && pass.Records<ExpertChoice>() is { Count: > 0 } choices
            ? ExpertChoice.BalanceLoss(choices, mask, pass.Share) * factor : null;

    /// <inheritdoc/>
    protected override bool DependsOnLength => _rotaries.Any(rotary => rotary.DependsOnLength);

    /// <inheritdoc/>
    protected override bool KeepsKeys(long before, long now) =>
        _rotaries.All(rotary => rotary.AreAlike(before, now));

    /// <inheritdoc/>
    /// <remarks>Shapes: ids [B, T] int64 → [B, T, D].</remarks>
    protected override Tensor RunBlocks(Tensor ids, ForwardPass pass)
    {
        var positions = SequenceContext.PositionsOf(ids, pass);
        var context = SequenceContext.For(_rotaries, _alibi, positions, ids, pass);
        var hidden = Embedded(ids, positions, pass);
        using var memory = new WorkMemory();
        foreach (var block in _blocks)
        {
            if (pass.IsInference && block.RunInPlace(hidden, context, pass, memory))
                continue;
            hidden = RunBlock(hidden, pass, block, (input, run) => block.Forward(input, context, run));
        }

        var normal = _norm?.Forward(hidden) ?? hidden;
        return _projectOut?.Forward(normal, pass) ?? normal;
    }

    private Tensor Embedded(Tensor ids, Tensor positions, ForwardPass pass)
    {
        var hidden = Embedding.Forward(ids);
        if (_projectIn is not null)
            hidden = _projectIn.Forward(hidden, pass);
        if (_config.EmbeddingMultiplier != 1)
            hidden = _config.RoundsEmbeddingMultiplier
                ? hidden * torch.tensor(_config.EmbeddingMultiplier, dtype: Dtype, device: Device)
                : hidden * _config.EmbeddingMultiplier;
        return _positions is null ? hidden : hidden + _positions.Forward(positions + _config.PositionOffset);
    }

    // Older checkpoints carry the frequencies, some of them before scaling.
    private void ExpectFrequencies(DecoderConfig config, WeightSource weights)
    {
        if (_rotaries.Count != 1)
            return;
        var unscaled = new RotaryEmbedding(
            config.Rope! with { Type = "default" }, config.HeadSize).Frequencies;
        var (model, attention) = (config.Names.Model, config.Names.Attention.Block);
        foreach (var name in Enumerable.Range(0, config.LayerCount)
            .Select(layer => $"{model}.{config.Names.Layers}.{layer}.{attention}.").Append($"{model}."))
        {
            weights.Expect(
                $"{name}rotary_emb.inv_freq", "config.json's rotary embedding", _rotaries[0].Frequencies, unscaled);
        }
    }
}
