using Peft.Models.Layers;
using Peft.Models.Loading;

namespace Peft.Models.Llama;

/// <summary>One pre-norm decoder block: attention and feed-forward, each added to the residual stream.</summary>
public sealed class DecoderBlock : Layer
{
    private readonly RmsNorm _inputNorm;
    private readonly Attention _attention;
    private readonly RmsNorm _feedForwardNorm;
    private readonly FeedForward _feedForward;

    /// <summary>Takes the block's tensors from a source of weights.</summary>
    public DecoderBlock(LlamaConfig config, WeightSource weights, string path, int layer)
        : base(path)
    {
        _inputNorm = new RmsNorm(weights, $"{path}.input_layernorm", config.HiddenSize, config.RmsNormEpsilon);
        _attention = new Attention(config, weights, $"{path}.self_attn", layer);
        _feedForwardNorm = new RmsNorm(weights, $"{path}.post_attention_layernorm", config.HiddenSize, config.RmsNormEpsilon);
        _feedForward = new FeedForward(config, weights, $"{path}.mlp");
        RegisterModule("input_layernorm", _inputNorm);
        RegisterModule("self_attn", _attention);
        RegisterModule("post_attention_layernorm", _feedForwardNorm);
        RegisterModule("mlp", _feedForward);
    }

    /// <summary>The seven projections, in module order.</summary>
    public IEnumerable<ProjectionSlot> Slots => _attention.Slots.Concat(_feedForward.Slots);

    /// <summary>Runs the block.</summary>
    /// <remarks>Shapes: hidden [B, T, D] → [B, T, D].</remarks>
    public Tensor Forward(Tensor hidden, SequenceContext context, ForwardPass pass)
    {
        var attended = hidden + _attention.Forward(_inputNorm.Forward(hidden), context, pass);
        return attended + _feedForward.Forward(_feedForwardNorm.Forward(attended), pass);
    }
}
