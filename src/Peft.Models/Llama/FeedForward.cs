using Peft.Models.Loading;

namespace Peft.Models.Llama;

/// <summary>The gated feed-forward: <c>down(silu(gate(x)) * up(x))</c>.</summary>
/// <remarks>Source: Shazeer 2020, arXiv:2002.05202 (SwiGLU).</remarks>
public sealed class FeedForward : Layer
{
    private readonly ProjectionSlot _gate;
    private readonly ProjectionSlot _up;
    private readonly ProjectionSlot _down;

    /// <summary>Takes the three projections from a source of weights.</summary>
    public FeedForward(LlamaConfig config, WeightSource weights, string path)
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
