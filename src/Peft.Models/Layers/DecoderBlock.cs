using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>One pre-norm decoder block: attention and feed-forward, each added to the residual stream.</summary>
public sealed class DecoderBlock : Layer
{
    private readonly RmsNorm _inputNorm;
    private readonly Attention _attention;
    private readonly RmsNorm _feedForwardNorm;
    private readonly FeedForward _feedForward;
    private readonly ProjectionSlot[] _slots;
    private readonly double _epsilon;
    private readonly int _layer;
    private DecoderWeights? _plain;

    /// <summary>Takes the block's tensors from a source of weights.</summary>
    public DecoderBlock(DecoderConfig config, WeightSource weights, string path, int layer)
        : base(path)
    {
        _inputNorm = new RmsNorm(weights, $"{path}.input_layernorm", config.HiddenSize, config.RmsNormEpsilon);
        _attention = new Attention(config, weights, $"{path}.self_attn", layer);
        _feedForwardNorm = new RmsNorm(
            weights, $"{path}.post_attention_layernorm", config.HiddenSize, config.RmsNormEpsilon);
        _feedForward = new FeedForward(config, weights, $"{path}.mlp");
        (_slots, _epsilon, _layer) = ([.. _attention.Slots, .. _feedForward.Slots], config.RmsNormEpsilon, layer);
        RegisterModule("input_layernorm", _inputNorm);
        RegisterModule("self_attn", _attention);
        RegisterModule("post_attention_layernorm", _feedForwardNorm);
        RegisterModule("mlp", _feedForward);
    }

    /// <summary>The seven projections, in module order.</summary>
    public IEnumerable<ProjectionSlot> Slots => _slots;

    /// <summary>Runs the block without a graph and in place, where nothing wraps its projections and there is a kernel
    /// for it.</summary>
    /// <remarks>Shapes: hidden [B, T, D], which becomes the block's output.</remarks>
    /// <returns>False where there is not; then nothing was done, and <see cref="Forward"/> is to be called.</returns>
    public bool RunInPlace(Tensor hidden, SequenceContext context, ForwardPass pass, WorkMemory memory)
    {
        if (!_slots.All(slot => slot.IsPlain))
            return false;
        var weights = _plain ??= Weights();
        var borders = context.Segments is { } segments ? segments.Borders : default;
        long[] added = [
            hidden.size(0), weights.Key.Weight.size(0) / weights.HeadSize, hidden.size(1), weights.HeadSize];
        return Fused.decoder_block_(
            hidden, weights, context.Cosines, context.Sines, context.Mask, pass.Cache?.Rooms(_layer, added, hidden),
            borders, memory);
    }

    private DecoderWeights Weights()
    {
        var plain = _slots.Select(slot => new PlainLinear(slot.Base.Weight, slot.Base.Bias)).ToArray();
        var (norms, settings) = (_attention.HeadNorms, _attention.Settings);
        return new(
            _inputNorm.Weight, plain[0], plain[1], plain[2], plain[3], norms.Query?.Weight, norms.Key?.Weight,
            _feedForwardNorm.Weight, plain[4], plain[5], plain[6], _epsilon, settings.HeadSize, settings.Scale,
            settings.Window);
    }

    /// <summary>Runs the block.</summary>
    /// <remarks>Shapes: hidden [B, T, D] → [B, T, D].</remarks>
    public Tensor Forward(Tensor hidden, SequenceContext context, ForwardPass pass)
    {
        var attended = hidden + _attention.Forward(_inputNorm.Forward(hidden), context, pass);
        return attended + _feedForward.Forward(_feedForwardNorm.Forward(attended), pass);
    }
}

/// <summary>The gated feed-forward: <c>down(silu(gate(x)) * up(x))</c>.</summary>
/// <remarks>Source: Shazeer 2020, arXiv:2002.05202 (SwiGLU).</remarks>
public sealed class FeedForward : Layer
{
    private readonly ProjectionSlot _gate;
    private readonly ProjectionSlot _up;
    private readonly ProjectionSlot _down;

    /// <summary>Takes the three projections from a source of weights.</summary>
    public FeedForward(DecoderConfig config, WeightSource weights, string path)
        : base(path)
    {
        _gate = Slot("gate_proj", config.HiddenSize, config.IntermediateSize);
        _up = Slot("up_proj", config.HiddenSize, config.IntermediateSize);
        _down = Slot("down_proj", config.IntermediateSize, config.HiddenSize);

        ProjectionSlot Slot(string name, long inFeatures, long outFeatures)
        {
            var linear = BaseLinear.From(weights, $"{path}.{name}", inFeatures, outFeatures, config.FeedForwardBias);
            RegisterModule(name, linear);
            return new ProjectionSlot(linear, wrapped => ReplaceModule(name, wrapped));
        }
    }

    /// <summary>The three projections, in module order.</summary>
    public IReadOnlyList<ProjectionSlot> Slots => [_gate, _up, _down];

    /// <summary>Transforms each token by itself.</summary>
    /// <remarks>Shapes: x [B, T, D] → [B, T, D].</remarks>
    public Tensor Forward(Tensor x, ForwardPass pass) =>
        _down.Forward(Fused.swiglu(_gate.Forward(x, pass), _up.Forward(x, pass)), pass);
}
