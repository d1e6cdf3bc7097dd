using Peft.Formats.HuggingFace;
using Peft.Models.Layers;

namespace Peft.Models.Families;

/// <summary>Gemma: norms whose scale is one plus the weight, scaled token vectors, a feed-forward gated by GELU; Gemma
/// 2
/// and 3 with norms on both sides of attention and feed-forward, and every other layer or more with a window.</summary>
/// <remarks>Source: Gemma team 2024, arXiv:2403.08295; 2024, arXiv:2408.00118; 2025, arXiv:2503.19786.</remarks>
public static class Gemma
{
    private const string TanhGelu = "gelu_pytorch_tanh";

    /// <summary>Reads a <c>gemma</c> config.</summary>
    public static DecoderConfig Read(ModelConfigFile file)
    {
        var config = Common(file, 16, "hidden_act").WithRope();
        return (config.WithWindows() with
        {
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 8192),
        }).Checked();
    }

    /// <summary>Reads a <c>gemma2</c> config.</summary>
    public static DecoderConfig ReadGemma2(ModelConfigFile file)
    {
        var window = file.WindowOr(4096);
        return (Sandwiched(file).WithRope().WithWindows(window, layer => layer % 2 == 0) with
        {
            AttentionSoftCap = Cap(file, "attn_logit_softcapping", 50),
            LogitSoftCap = Cap(file, "final_logit_softcapping", 30),
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 8192),
        }).Checked();
    }

    /// <summary>Reads a <c>gemma3_text</c> config: layers with a window have a rotary embedding of their own.</summary>
    public static DecoderConfig ReadGemma3(ModelConfigFile file)
    {
        var window = file.WindowOr(4096);
        var pattern = Math.Max(1, file.Int("sliding_window_pattern", 6));
        var config = Sandwiched(file).WithRope(1_000_000)
            .WithWindows(window, layer => (layer + 1) % pattern != 0);
        // Attention has no soft cap in this generation, whatever attn_logit_softcapping says.
        return (config with
        {
            QueryKeyNorm = QueryKeyNorm.PerHead,
            WindowRope = file.WindowRope ?? config.Rope! with
            {
                Theta = file.Number("rope_local_base_freq", 10000),
                Type = "default",
                Factor = 1,
                TableFactor = 1,
            },
            LogitSoftCap = Cap(file, "final_logit_softcapping", null),
            MaxPositionEmbeddings = file.Int("max_position_embeddings", 131072),
        }).Checked();
    }

    private static DecoderConfig Common(ModelConfigFile file, int keyValueHeads, string activationKey)
    {
        var bias = file.Bool("attention_bias", false);
        var config = FamilyConfig.Read(file, keyValueHeads, 256, bias, bias).WithInner().TiedByDefault();
        file.Require("use_bidirectional_attention", !file.Bool("use_bidirectional_attention", false), "false");
        return config with
        {
            Norm = NormKind.RmsPlusOne,
            EmbeddingMultiplier = Math.Sqrt(config.HiddenSize),
            RoundsEmbeddingMultiplier = true,
            Activation = file.Text(activationKey, TanhGelu),
            ActivationKey = activationKey,
        };
    }

    private static DecoderConfig Sandwiched(ModelConfigFile file)
    {
        var scalar = file.Number("query_pre_attn_scalar", 256);
        file.Require("query_pre_attn_scalar", scalar > 0, "a number above 0");
        return Common(file, 4, "hidden_activation") with
        {
            AttentionScale = 1 / Math.Sqrt(Math.Max(scalar, double.Epsilon)),
            Names = new()
            {
                Norms = new(
                    "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                    "post_feedforward_layernorm"),
            },
        };
    }

    // A null in the file means none.
    private static double? Cap(ModelConfigFile file, string key, double? fallback)
    {
        var cap = file.Map.Keys.Contains(key) ? file.OptionalNumber(key) : fallback;
        file.Require(key, cap is null or > 0, "a number above 0, or null");
        return cap;
    }
}
