using Peft.Formats.HuggingFace;
using Peft.Models.Layers;

namespace Peft.Models.Families;

/// <summary>Bases with feed-forwards of experts: Mixtral, Qwen2-MoE, Qwen3-MoE and OLMoE.</summary>
/// <remarks>Source: Jiang et al. 2024, arXiv:2401.04088; Muennighoff et al. 2024, arXiv:2409.02060.</remarks>
public static class Mixtures
{
    /// <summary>Reads a <c>mixtral</c> config.</summary>
    public static DecoderConfig ReadMixtral(ModelConfigFile file)
    {
        var window = file.OptionalInt("sliding_window");
        file.Require("router_jitter_noise", file.Number("router_jitter_noise", 0) == 0, "0");
        var config = FamilyConfig.Read(file, 8).WithInner().WithEpsilon("rms_norm_eps", 1e-5).WithRope(1_000_000)
            .WithWindows(window);
        return (config with
        {
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 131072),
            Names = new() { FeedForward = new("block_sparse_moe") },
            Experts = Experts(
                file, file.Int("num_local_experts", 8, "num_experts"), file.Int("num_experts_per_tok", 2),
                config.IntermediateSize, true, All(config), 0.001) with
            { Names = new("", "w1", "w3", "w2") },
        }).Checked();
    }

    /// <summary>Reads a <c>qwen2_moe</c> config.</summary>
    public static DecoderConfig ReadQwen2Moe(ModelConfigFile file)
    {
        var bias = file.Bool("qkv_bias", true);
        var config = WithWindows(FamilyConfig.Read(file, 16, null, bias), file);
        return (config with
        {
            IntermediateSize = file.Int("intermediate_size", 5632),
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 32768),
            Experts = Experts(
                file, file.Int("num_experts", 60), file.Int("num_experts_per_tok", 4),
                file.Int("moe_intermediate_size", 1408), file.Bool("norm_topk_prob", false), Sparse(file, config),
                0.001) with
            {
                SharedIntermediateSize = file.Int("shared_expert_intermediate_size", 5632),
            },
        }).Checked();
    }

    /// <summary>Reads a <c>qwen3_moe</c> config.</summary>
    public static DecoderConfig ReadQwen3Moe(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        var config = WithWindows(FamilyConfig.Read(file, 4, null, bias, bias), file);
        return (config with
        {
            QueryKeyNorm = QueryKeyNorm.PerHead,
            IntermediateSize = file.Int("intermediate_size", 6144),
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 32768),
            Experts = Experts(
                file, file.Int("num_experts", 128, "num_local_experts"), file.Int("num_experts_per_tok", 8),
                file.Int("moe_intermediate_size", 768), file.Bool("norm_topk_prob", false), Sparse(file, config),
                0.001),
        }).Checked();
    }

    /// <summary>Reads an <c>olmoe</c> config.</summary>
    public static DecoderConfig ReadOlmoe(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        var config = FamilyConfig.Read(file, null, null, bias, bias).WithEpsilon("rms_norm_eps", 1e-5)
            .WithWindows();
        var inner = file.Int("intermediate_size", 2048);
        var limit = file.OptionalNumber("clip_qkv");
        file.Require("clip_qkv", limit is null or > 0, "a number above 0, or null");
        return (config with
        {
            QueryKeyNorm = QueryKeyNorm.WholeWidth,
            ProjectionLimit = limit,
            IntermediateSize = inner,
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 4096),
            Experts = Experts(
                file, file.Int("num_experts", 64, "num_local_experts"), file.Int("num_experts_per_tok", 8), inner,
                file.Bool("norm_topk_prob", false), All(config), 0.01),
        }).Checked();
    }

    private static BaseExperts Experts(
        ModelConfigFile file, int count, int chosen, int inner, bool renormalizes, IReadOnlyList<bool> layers,
        double balance) =>
        new(count, chosen, inner, renormalizes, layers, new(""))
        {
            BalanceLossFactor = file.Bool("output_router_logits", false)
                ? file.Number("router_aux_loss_coef", balance) : null,
        };

    private static bool[] All(DecoderConfig config) =>
        [.. Enumerable.Repeat(true, config.LayerCount)];

    // The layers named, and those between the steps, are dense.
    private static bool[] Sparse(ModelConfigFile file, DecoderConfig config)
    {
        var step = Math.Max(1, file.Int("decoder_sparse_step", 1));
        var dense = file.Wholes("mlp_only_layers");
        return [.. Enumerable.Range(0, config.LayerCount)
            .Select(layer => !dense.Contains(layer) && (layer + 1) % step == 0)];
    }

    // Unlike Qwen's dense models, every layer slides where a window is asked for.
    private static DecoderConfig WithWindows(DecoderConfig config, ModelConfigFile file)
    {
        var window = file.Bool("use_sliding_window", false) ? file.WindowOr(4096) : null;
        return config.WithWindows(window);
    }
}
