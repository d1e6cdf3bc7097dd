using Peft.Formats.HuggingFace;
using Peft.Models.Layers;

namespace Peft.Models.Families;

/// <summary>Command R: attention and feed-forward side by side behind one norm without bias, heads turned by
/// neighbours,
/// scaled logits.</summary>
public static class Cohere
{
    /// <summary>Reads a <c>cohere</c> config.</summary>
    public static DecoderConfig Read(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        return (FamilyConfig.Read(file, null, null, bias, bias).WithInner().TiedByDefault()
            .WithEpsilon("layer_norm_eps", 1e-5).WithRope().WithWindows() with
        {
            Norm = NormKind.LayerWithoutBias,
            IsParallel = true,
            TurnsNeighbors = true,
            LogitScale = file.Number("logit_scale", 0.0625),
            QueryKeyNorm = file.Bool("use_qk_norm", false) ? QueryKeyNorm.ScalePerHead : QueryKeyNorm.None,
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 8192),
            Names = new() { Norms = new("input_layernorm", null, null) },
        }).Checked();
    }
}

/// <summary>StableLM: layer norms, a part of each head turned, attention and feed-forward one after the other or side
/// by
/// side.</summary>
public static class StableLm
{
    /// <summary>Reads a <c>stablelm</c> config.</summary>
    public static DecoderConfig Read(ModelConfigFile file)
    {
        var isParallel = file.Bool("use_parallel_residual", false);
        return (FamilyConfig.Read(file, 32, null, file.Bool("use_qkv_bias", false)).WithInner()
            .WithEpsilon("layer_norm_eps", 1e-5).WithRope(part: 0.25).WithWindows() with
        {
            Norm = NormKind.Layer,
            IsParallel = isParallel,
            MayTurnPartly = true,
            QueryKeyNorm = file.Bool("qk_layernorm", false) ? QueryKeyNorm.TensorPerHead : QueryKeyNorm.None,
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 4096),
            Names = new()
            {
                Norms = isParallel ? new("input_layernorm", null, null) : new(),
                Attention = new() { QueryNorm = "q_layernorm", KeyNorm = "k_layernorm" },
            },
        }).Checked();
    }
}

/// <summary>StarCoder 2: layer norms, biases, a feed-forward without a gate.</summary>
/// <remarks>Source: Lozhkov et al. 2024, arXiv:2402.19173.</remarks>
public static class Starcoder2
{
    /// <summary>Reads a <c>starcoder2</c> config.</summary>
    public static DecoderConfig Read(ModelConfigFile file)
    {
        var bias = file.Bool("use_bias", true);
        var window = file.OptionalInt("sliding_window");
        return (FamilyConfig.Read(file, 2, null, bias, bias).WithInner().TiedByDefault()
            .WithEpsilon("norm_epsilon", 1e-5).WithRope().WithWindows(window) with
        {
            Norm = NormKind.Layer,
            FeedForwardBias = bias,
            Activation = file.Text("hidden_act", "gelu_pytorch_tanh"),
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 4096),
            Names = new() { FeedForward = new(Gate: null, Up: "c_fc", Down: "c_proj") },
        }).Checked();
    }
}
