using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models.Families;
using Peft.Models.Layers;

namespace Peft.Models;

/// <summary>Every supported <c>model_type</c>, one line each. A new family is one file and one line here.</summary>
public static class ModelCatalog
{
    private static readonly List<ModelFamily> All =
    [
        DecoderModel.Family("llama", Llama.Read),
        DecoderModel.Family("mistral", Llama.ReadMistral),
        DecoderModel.Family("qwen2", Llama.ReadQwen2),
        DecoderModel.Family("qwen3", Llama.ReadQwen3),
        DecoderModel.Family("smollm3", Llama.ReadSmolLm3),
        DecoderModel.Family("granite", Llama.ReadGranite),
        DecoderModel.Family("olmo2", Llama.ReadOlmo2),
        DecoderModel.Family("gemma", Gemma.Read),
        DecoderModel.Family("gemma2", Gemma.ReadGemma2),
        DecoderModel.Family("gemma3_text", Gemma.ReadGemma3),
        DecoderModel.Family("phi3", Phi3.Read),
        DecoderModel.Family("glm4", Glm4.Read),
        DecoderModel.Family("cohere", Cohere.Read),
        DecoderModel.Family("stablelm", StableLm.Read),
        DecoderModel.Family("starcoder2", Starcoder2.Read),
        DecoderModel.Family("falcon", Falcon.Read, "transformer."),
        DecoderModel.Family("gpt_neox", GptNeoX.Read, "gpt_neox.", ".attention.bias", ".attention.masked_bias"),
        DecoderModel.Family("gpt2", Gpt2.Read, "transformer.", ".attn.bias", ".attn.masked_bias"),
        DecoderModel.Family("opt", Opt.Read),
        DecoderModel.Family("mixtral", Mixtures.ReadMixtral),
        DecoderModel.Family("qwen2_moe", Mixtures.ReadQwen2Moe),
        DecoderModel.Family("qwen3_moe", Mixtures.ReadQwen3Moe),
        DecoderModel.Family("olmoe", Mixtures.ReadOlmoe),
    ];

    // What sets families apart that are near to one of these.
    private static readonly Dictionary<string, string> Differences = new(StringComparer.Ordinal)
    {
        ["apertus"] = "unlike llama, the feed-forward has no gate and an activation that is trained",
        ["arcee"] = "unlike llama, the feed-forward has no gate",
        ["baichuan"] = "unlike llama, q, k and v are one projection",
        ["bart"] = "it is an encoder-decoder",
        ["bert"] = "it is an encoder, which sees later tokens too",
        ["bloom"] = "positions are biases of the scores",
        ["chatglm"] = "unlike glm4, keys and tensors have other names",
        ["codegen"] = "unlike gpt_neox, neighbours are turned and rows of q, k and v lie otherwise",
        ["cohere2"] = "unlike cohere, windows take turns with layers that turn no heads",
        ["dbrx"] = "unlike mixtral, experts are stored as one tensor and q, k and v are clamped",
        ["deepseek"] = "unlike llama, there are experts of which some see every token",
        ["deepseek_v2"] = "attention goes through a latent vector",
        ["deepseek_v3"] = "attention goes through a latent vector",
        ["distilbert"] = "it is an encoder, which sees later tokens too",
        ["ernie4_5"] = "unlike llama, neighbours are turned",
        ["exaone"] = "unlike llama, keys and tensors have other names",
        ["exaone4"] = "unlike olmo2, windows take turns with layers that turn no heads",
        ["falcon_h1"] = "unlike llama, a state-space model stands beside each attention",
        ["falcon_mamba"] = "it is a state-space model without attention",
        ["gemma3"] = "unlike gemma3_text, the text model lies beside one for images",
        ["gemma3n"] = "unlike gemma3_text, layers share keys and have embeddings of their own",
        ["gemma3n_text"] = "unlike gemma3_text, layers share keys and have embeddings of their own",
        ["glm"] = "unlike glm4, blocks have two norms",
        ["glm4_moe"] = "unlike glm4, there are experts with a router of their own kind",
        ["gpt_bigcode"] = "unlike gpt2, all heads share a key",
        ["gpt_neo"] = "unlike gpt2, scores are not scaled and windows take turns",
        ["gpt_neox_japanese"] = "unlike gpt_neox, the attention's bias stands alone",
        ["gpt_oss"] = "attention has sinks and experts are stored as one tensor",
        ["gptj"] = "unlike gpt_neox, q, k and v are apart and neighbours are turned",
        ["granitemoe"] = "unlike granite, experts are stored as one tensor",
        ["granitemoehybrid"] = "unlike granite, most layers are state-space models",
        ["hunyuan_v1_dense"] = "unlike llama, q and k are normalised after they are turned",
        ["internlm2"] = "unlike llama, q, k and v are one projection",
        ["jamba"] = "most layers are state-space models",
        ["lfm2"] = "most layers are convolutions",
        ["llama4"] = "unlike llama, experts are stored as one tensor beside a model for images",
        ["llama4_text"] = "unlike llama, experts are stored as one tensor",
        ["mamba"] = "it is a state-space model without attention",
        ["mamba2"] = "it is a state-space model without attention",
        ["minicpm"] = "unlike granite, its multipliers have other keys",
        ["minicpm3"] = "attention goes through a latent vector",
        ["ministral"] = "unlike mistral, windows take turns",
        ["mistral3"] = "unlike mistral, the text model lies beside one for images",
        ["mllama"] = "unlike llama, some layers look at images",
        ["mpt"] = "positions are biases of the scores",
        ["nemotron"] = "unlike llama, norms are layer norms of one plus the weight",
        ["nemotron_h"] = "most layers are state-space models",
        ["olmo"] = "unlike olmo2, norms have no weights",
        ["olmo3"] = "unlike olmo2, windows take turns with rotary embeddings of their own",
        ["persimmon"] = "unlike gpt_neox, q and k are normalised",
        ["phi"] = "unlike phi3, attention and feed-forward stand side by side",
        ["phi3_v"] = "unlike phi3, the text model lies beside one for images",
        ["phi3small"] = "unlike phi3, attention is sparse by blocks and the feed-forward clamps its gate",
        ["phi4_multimodal"] = "unlike phi3, there are models for images and sound, each with an adapter",
        ["phi4mm"] = "unlike phi3, there are models for images and sound, each with an adapter",
        ["phimoe"] = "unlike phi3, there are experts with a router of their own kind",
        ["qwen"] = "unlike qwen2, q, k and v are one projection and tensors have other names",
        ["qwen2_5_vl"] = "unlike qwen2, positions have three parts",
        ["qwen2_vl"] = "unlike qwen2, positions have three parts",
        ["qwen3_next"] = "unlike qwen3_moe, most layers have linear attention",
        ["qwen3_vl"] = "unlike qwen3, positions have three parts",
        ["qwen3_vl_moe"] = "unlike qwen3_moe, positions have three parts",
        ["recurrent_gemma"] = "unlike gemma2, most layers are recurrent",
        ["RefinedWeb"] = "it is falcon under other names of keys and tensors",
        ["RefinedWebModel"] = "it is falcon under other names of keys and tensors",
        ["roberta"] = "it is an encoder, which sees later tokens too",
        ["seed_oss"] = "unlike llama, biases of q, k and v and that of the output have keys of their own",
        ["stablelm_epoch"] = "it is stablelm under other names of keys",
        ["t5"] = "it is an encoder-decoder",
        ["xglm"] = "positions are sines and cosines that are added",
    };

    /// <summary>The families, in the order they are listed to people.</summary>
    public static IReadOnlyList<ModelFamily> Families => All;

    /// <summary>Takes in a family of another assembly, before the first model is loaded.</summary>
    public static void Add(ModelFamily family) => All.Add(family);

    /// <summary>The family of a config.json.</summary>
    /// <exception cref="UserException">The model_type is not supported.</exception>
    public static ModelFamily Find(ModelConfigFile file)
    {
        var known = Families.Select(family => family.ModelType).ToArray();
        var found = Families.FirstOrDefault(family => family.ModelType == file.ModelType);
        if (found is not null)
            return found;
        var difference = Differences.GetValueOrDefault(file.ModelType);
        var near = difference is null ? NearestName.Of(file.ModelType, known) : null;
        throw UserException.At(
            file.Path, $"model_type is '{file.ModelType}', which is not supported"
                + (difference is null ? "" : $" ({difference})"), Words.OneOf(known),
            near is null ? null : $"did you mean '{near}'?");
    }
}
