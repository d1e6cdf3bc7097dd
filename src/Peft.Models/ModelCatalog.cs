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
        var near = NearestName.Of(file.ModelType, known);
        throw UserException.At(
            file.Path, $"model_type is '{file.ModelType}', which is not supported", Words.OneOf(known),
            near is null ? null : $"did you mean '{near}'?");
    }
}
