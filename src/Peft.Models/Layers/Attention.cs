using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>Grouped-query self-attention with rotary positions.</summary>
/// <remarks>
/// Source: Ainslie et al. 2023, arXiv:2305.13245 (grouped queries); Qwen3 norms each head of q and k before the
/// rotation.
/// </remarks>
public sealed class Attention : Layer
{
    private readonly int _layer;
    private readonly long? _window;
    private readonly int _headSize;
    private readonly double _scale;
    private readonly ProjectionSlot _query;
    private readonly ProjectionSlot _key;
    private readonly ProjectionSlot _value;
    private readonly ProjectionSlot _output;
    private readonly RmsNorm? _queryNorm;
    private readonly RmsNorm? _keyNorm;

    /// <summary>Takes the four projections, and the norms of q and k where there are any, from a source of
    /// weights.</summary>
    public Attention(DecoderConfig config, WeightSource weights, string path, int layer)
        : base(path)
    {
        _layer = layer;
        _window = config.Windows[layer];
        _headSize = config.HeadSize;
        _scale = 1.0 / Math.Sqrt(config.HeadSize);
        long width = config.HiddenSize;
        var queryWidth = (long)config.HeadCount * config.HeadSize;
        var keyWidth = (long)config.KeyValueHeadCount * config.HeadSize;
        _query = Slot("q_proj", width, queryWidth, config.QueryKeyValueBias);
        _key = Slot("k_proj", width, keyWidth, config.QueryKeyValueBias);
        _value = Slot("v_proj", width, keyWidth, config.QueryKeyValueBias);
        _output = Slot("o_proj", queryWidth, width, config.OutputBias);
        if (config.NormalizesQueryAndKey)
        {
            _queryNorm = new RmsNorm(weights, $"{path}.q_norm", config.HeadSize, config.RmsNormEpsilon);
            _keyNorm = new RmsNorm(weights, $"{path}.k_norm", config.HeadSize, config.RmsNormEpsilon);
            RegisterModule("q_norm", _queryNorm);
            RegisterModule("k_norm", _keyNorm);
        }

        ProjectionSlot Slot(string name, long inFeatures, long outFeatures, bool hasBias)
        {
            var linear = BaseLinear.From(weights, $"{path}.{name}", inFeatures, outFeatures, hasBias);
            RegisterModule(name, linear);
            return new ProjectionSlot(linear, wrapped => ReplaceModule(name, wrapped));
        }
    }

    /// <summary>The norms of each head of q and k, where there are any.</summary>
    internal (RmsNorm? Query, RmsNorm? Key) HeadNorms => (_queryNorm, _keyNorm);

    /// <summary>Width of a head, factor of the scores, and the window.</summary>
    internal (int HeadSize, double Scale, long? Window) Settings => (_headSize, _scale, _window);

    /// <summary>The four projections, in module order.</summary>
    public IReadOnlyList<ProjectionSlot> Slots => [_query, _key, _value, _output];

    /// <summary>Mixes each token with those before it.</summary>
    /// <remarks>Shapes: x [B, T, D] → [B, T, D].</remarks>
    public Tensor Forward(Tensor x, SequenceContext context, ForwardPass pass)
    {
        var (B, T) = (x.shape[0], x.shape[1]);
        var query = Rotate(Heads(_query, x, pass), _queryNorm, context); // [B, H, T, d]
        var key = Rotate(Heads(_key, x, pass), _keyNorm, context); // [B, Hkv, T, d]
        var value = Heads(_value, x, pass).transpose(1, 2);
        if (pass.Cache is { } cache)
            (key, value) = cache.Append(_layer, key, value); // [B, Hkv, S, d]
        var borders = context.Segments is { } segments ? segments.Borders : default;
        var mixed = Fused.causal_attention(query, key, value, context.Mask, _scale, window: _window, segments: borders);
        return _output.Forward(mixed.transpose(1, 2).reshape(B, T, -1), pass);
    }

    private Tensor Heads(ProjectionSlot slot, Tensor x, ForwardPass pass) =>
        slot.Forward(x, pass).reshape(x.shape[0], x.shape[1], -1, _headSize); // [B, T, H, d]

    private static Tensor Rotate(Tensor heads, RmsNorm? norm, SequenceContext context) =>
        Fused.rotary(norm?.Forward(heads) ?? heads, context.Cosines, context.Sines).transpose(1, 2);
}
