using Peft.Formats.HuggingFace;
using Peft.Models.Layers;

namespace Peft.Models.Families;

/// <summary>GPT-NeoX (Pythia): q, k and v of each head together, attention and feed-forward side by side.</summary>
/// <remarks>Source: Black et al. 2022, arXiv:2204.06745, section 2.</remarks>
public static class GptNeoX
{
    /// <summary>Reads a <c>gpt_neox</c> config.</summary>
    public static DecoderConfig Read(ModelConfigFile file)
    {
        var bias = file.Bool("attention_bias", true);
        var config = FamilyConfig.Read(file, null, null, bias, bias).WithInner()
            .WithEpsilon("layer_norm_eps", 1e-5).WithRope(part: 0.25).WithWindows();
        return (config with
        {
            // The older names count where both are there.
            Rope = config.Rope! with
            {
                Theta = file.Number("rotary_emb_base", config.Rope.Theta),
                PartialRotaryFactor = file.Number("rotary_pct", config.Rope.PartialRotaryFactor),
            },
            KeyValueHeadCount = file.RequiredInt("num_attention_heads"),
            Norm = NormKind.Layer,
            IsParallel = file.Bool("use_parallel_residual", true),
            MayTurnPartly = true,
            FeedForwardBias = true,
            Activation = file.Text("hidden_act", "gelu"),
            Names = new()
            {
                Model = "gpt_neox",
                Embedding = "embed_in",
                FinalNorm = "final_layer_norm",
                Head = "embed_out",
                Attention = new("attention", "dense", "query_key_value", FusedLayout.Groups),
                FeedForward = new(Gate: null, Up: "dense_h_to_4h", Down: "dense_4h_to_h"),
            },
        }).Checked();
    }
}

/// <summary>GPT-2: a table of positions, matrices stored as [inputs, outputs].</summary>
/// <remarks>Source: Radford et al. 2019, Language models are unsupervised multitask learners.</remarks>
public static class Gpt2
{
    /// <summary>Reads a <c>gpt2</c> config.</summary>
    public static DecoderConfig Read(ModelConfigFile file)
    {
        var config = FamilyConfig.Read(file, null, null, true, true).TiedByDefault()
            .WithEpsilon("layer_norm_epsilon", 1e-5).WithWindows();
        file.Require("add_cross_attention", !file.Bool("add_cross_attention", false), "false");
        return (config with
        {
            Rope = null,
            IntermediateSize = file.OptionalInt("n_inner") ?? 4 * config.HiddenSize,
            Norm = NormKind.Layer,
            FeedForwardBias = true,
            StoresInputsFirst = true,
            AttentionScale = file.Bool("scale_attn_weights", true) ? null : 1,
            DividesScoresByLayer = file.Bool("scale_attn_by_inverse_layer_idx", false),
            Activation = file.Text("activation_function", "gelu_new"),
            ActivationKey = "activation_function",
            MaxPositionEmbeddings = file.Int("n_positions", 1024, "max_position_embeddings"),
            Names = new()
            {
                Model = "transformer",
                Embedding = "wte",
                Positions = "wpe",
                Layers = "h",
                FinalNorm = "ln_f",
                Norms = new("ln_1", null, "ln_2"),
                Attention = new("attn", "c_proj", "c_attn"),
                FeedForward = new(Gate: null, Up: "c_fc", Down: "c_proj"),
            },
        }).Checked();
    }
}

/// <summary>OPT: a table of positions, a feed-forward without a gate; in the 350M norms after each half, and token
/// vectors of another width.</summary>
/// <remarks>Source: Zhang et al. 2022, arXiv:2205.01068.</remarks>
public static class Opt
{
    /// <summary>Reads an <c>opt</c> config.</summary>
    public static DecoderConfig Read(ModelConfigFile file)
    {
        var bias = file.Bool("enable_bias", true);
        var config = FamilyConfig.Read(file, null, null, bias, bias).TiedByDefault().WithWindows();
        file.Require(
            "layer_norm_elementwise_affine", file.Bool("layer_norm_elementwise_affine", true), "true");
        var isBefore = file.Bool("do_layer_norm_before", true);
        const string First = "self_attn_layer_norm", Second = "final_layer_norm"; // the second half's
        return (config with
        {
            Rope = null,
            KeyValueHeadCount = config.HeadCount,
            IntermediateSize = file.RequiredInt("ffn_dim"),
            Norm = NormKind.Layer,
            NormEpsilon = 1e-5,
            FeedForwardBias = bias,
            PositionOffset = 2,
            EmbeddingSize = file.OptionalInt("word_embed_proj_dim"),
            NormalizesSums = !isBefore,
            Activation = file.Text("activation_function", "relu"),
            ActivationKey = "activation_function",
            InitializerRange = file.Number("init_std", 0.02),
            Names = new()
            {
                Model = "model.decoder",
                Positions = "embed_positions",
                FinalNorm = isBefore && !file.Bool("_remove_final_layer_norm", false) ? "final_layer_norm" : null,
                Norms = isBefore ? new(First, null, Second) : new(null, First, null, Second),
                Attention = new(Output: "out_proj"),
                FeedForward = new("", null, "fc1", "fc2"),
            },
        }).Checked();
    }
}

/// <summary>Falcon: one key head for all (7B), a key head for each group of queries (40B), or one for each (RW, with
/// ALiBi and one half after the other), one norm or two.</summary>
/// <remarks>Source: Almazrouei et al. 2023, arXiv:2311.16867.</remarks>
public static class Falcon
{
    /// <summary>Reads a <c>falcon</c> config.</summary>
    public static DecoderConfig Read(ModelConfigFile file)
    {
        var bias = file.Bool("bias", false);
        var isNew = file.Bool("new_decoder_architecture", false);
        var isMultiQuery = file.Bool("multi_query", true);
        var isParallel = isNew || file.Bool("parallel_attn", true);
        var config = FamilyConfig.Read(file, null, null, bias, bias).TiedByDefault()
            .WithEpsilon("layer_norm_epsilon", 1e-5).WithRope().WithWindows();
        var hasAlibi = file.Bool("alibi", false);
        var norms = file.OptionalInt("num_ln_in_parallel_attn") ?? (isNew ? 2 : 1);
        file.Require("num_ln_in_parallel_attn", norms == 1 || (norms == 2 && isNew), isNew ? "1 or 2" : "1");
        return (config with
        {
            Rope = hasAlibi ? null : config.Rope,
            HasAlibi = hasAlibi,
            KeyValueHeadCount = isNew ? file.Int("num_kv_heads", config.HeadCount)
                : isMultiQuery ? 1 : config.HeadCount,
            HeadSize = config.HiddenSize / Math.Max(1, config.HeadCount),
            HeadsDivideWidth = true,
            IntermediateSize = file.OptionalInt("ffn_hidden_size") ?? 4 * config.HiddenSize,
            Norm = NormKind.Layer,
            IsParallel = isParallel,
            FeedForwardBias = bias,
            Activation = file.Text("activation", "gelu"),
            ActivationKey = "activation",
            Names = new()
            {
                Model = "transformer",
                Embedding = "word_embeddings",
                Layers = "h",
                FinalNorm = "ln_f",
                Norms = !isParallel ? new() : norms == 2 ? new("ln_attn", null, "ln_mlp")
                    : new("input_layernorm", null, null),
                Attention = new(
                    "self_attention", "dense", "query_key_value",
                    isNew || !isMultiQuery ? FusedLayout.Groups : FusedLayout.Blocks),
                FeedForward = new(Gate: null, Up: "dense_h_to_4h", Down: "dense_4h_to_h"),
            },
        }).Checked();
    }
}
