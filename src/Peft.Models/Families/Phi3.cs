using Peft.Formats.HuggingFace;
using Peft.Models.Layers;

namespace Peft.Models.Families;

/// <summary>Phi-3 and Phi-4 mini: Llama with q, k and v as one projection and gate and up as another.</summary>
/// <remarks>Source: Abdin et al. 2024, arXiv:2404.14219.</remarks>
public static class Phi3
{
    /// <summary>Gate and up as one projection.</summary>
    internal static readonly FeedForwardNames FeedForward = new(Gate: null, GateUp: "gate_up_proj");

    /// <summary>Reads a <c>phi3</c> config.</summary>
    public static DecoderConfig Read(ModelConfigFile file)
    {
        var window = file.OptionalInt("sliding_window");
        return (FamilyConfig.Read(file).WithInner().WithEpsilon("rms_norm_eps", 1e-5).WithRope()
            .WithWindows(window) with
        {
            MayTurnPartly = true,
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 4096),
            Names = new() { Attention = new(Fused: "qkv_proj"), FeedForward = FeedForward },
        }).Checked();
    }
}

/// <summary>GLM-4: norms on both sides, a part of each head turned by neighbours, gate and up as one
/// projection.</summary>
/// <remarks>Source: GLM team 2024, arXiv:2406.12793.</remarks>
public static class Glm4
{
    /// <summary>Reads a <c>glm4</c> config.</summary>
    public static DecoderConfig Read(ModelConfigFile file) =>
        (FamilyConfig.Read(file, 2, 128, file.Bool("attention_bias", true)).WithInner()
            .WithEpsilon("rms_norm_eps", 0.00000015625).WithRope(part: 0.5).WithWindows() with
        {
            MayTurnPartly = true,
            TurnsNeighbors = true,
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 131072),
            Names = new()
            {
                Norms = new(
                    "input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm"),
                FeedForward = Phi3.FeedForward,
            },
        }).Checked();
}
