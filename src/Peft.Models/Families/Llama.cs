using Peft.Formats.HuggingFace;
using Peft.Models.Layers;

namespace Peft.Models.Families;

/// <summary>Llama and those that share its block of pre-norm, rotary attention and gated feed-forward.</summary>
/// <remarks>Source: Touvron et al. 2023, arXiv:2302.13971, §2.2.</remarks>
public static class Llama
{
    /// <summary>Reads a <c>llama</c> config.</summary>
    public static DecoderConfig Read(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        var config = FamilyConfig.Read(file, null, null, bias, bias).WithInner().WithWindows();
        return (config with { FeedForwardBias = file.Bool("mlp_bias", false) }).Checked();
    }

    /// <summary>Reads a <c>mistral</c> config: every layer slides when there is a window.</summary>
    public static DecoderConfig ReadMistral(ModelConfigFile file)
    {
        var window = file.WindowOr(4096);
        return FamilyConfig.Read(file, 8).WithInner().WithWindows(window).Checked();
    }

    /// <summary>Reads a <c>qwen2</c> config: q, k and v always have biases, and the window is off unless it is asked
    /// for.</summary>
    public static DecoderConfig ReadQwen2(ModelConfigFile file) =>
        WithUpperWindows(FamilyConfig.Read(file, 32, null, bias: true).WithInner()).Checked();

    /// <summary>Reads a <c>qwen3</c> config: heads of q and k are normalised, and are 128 wide unless the config says
    /// otherwise.</summary>
    public static DecoderConfig ReadQwen3(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        var config = WithUpperWindows(FamilyConfig.Read(file, 32, 128, bias, bias).WithInner());
        return (config with { QueryKeyNorm = QueryKeyNorm.PerHead }).Checked();
    }

    /// <summary>Reads a <c>smollm3</c> config: some layers know no positions.</summary>
    public static DecoderConfig ReadSmolLm3(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        var config = FamilyConfig.Read(file, 4, null, bias, bias).WithInner().TiedByDefault().WithRope(2_000_000);
        var interval = Math.Max(1, file.Int("no_rope_layer_interval", 4));
        var given = file.Flags("no_rope_layers");
        if (given is not null && given.Count != config.LayerCount)
        {
            file.Fault("no_rope_layers", $"{given.Count} numbers", $"{config.LayerCount}, one for each layer");
            given = null;
        }

        var turning = given ?? [.. Enumerable.Range(1, config.LayerCount).Select(layer => layer % interval != 0)];
        var window = file.Bool("use_sliding_window", false) ? file.OptionalInt("sliding_window") : null;
        return (config.WithWindows(window, layer => !turning[layer]) with
        {
            TurningLayers = turning,
            FeedForwardBias = file.Bool("mlp_bias", false),
        }).Checked();
    }

    /// <summary>Reads a <c>granite</c> config: multipliers of embeddings, scores, branches and logits.</summary>
    public static DecoderConfig ReadGranite(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        var config = FamilyConfig.Read(file, null, null, bias, bias).WithInner();
        var divisor = file.Number("logits_scaling", 1);
        file.Require("logits_scaling", divisor != 0, "a number other than 0");
        return (config with
        {
            FeedForwardBias = file.Bool("mlp_bias", false),
            EmbeddingMultiplier = file.Number("embedding_multiplier", 1),
            AttentionScale = file.Number("attention_multiplier", 1),
            ResidualMultiplier = file.Number("residual_multiplier", 1),
            LogitScale = divisor == 0 ? 1 : 1 / divisor,
        }).Checked();
    }

    /// <summary>Reads an <c>olmo2</c> config: norms after attention and feed-forward, not before; q and k are
    /// normalised over their whole width.</summary>
    public static DecoderConfig ReadOlmo2(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", false);
        return (FamilyConfig.Read(file, null, null, bias, bias).WithInner().WithEpsilon("rms_norm_eps", 1e-5) with
        {
            QueryKeyNorm = QueryKeyNorm.WholeWidth,
            Names = new()
            {
                Norms = new(null, "post_attention_layernorm", null, "post_feedforward_layernorm"),
            },
        }).Checked();
    }

    // Qwen: only layers from max_window_layers on slide, and only when use_sliding_window is set.
    private static DecoderConfig WithUpperWindows(DecoderConfig config)
    {
        var file = config.File;
        var window = file.Bool("use_sliding_window", false) ? file.WindowOr(4096) : null;
        var first = file.Int("max_window_layers", 28);
        return config.WithWindows(window, layer => layer >= first);
    }
}
