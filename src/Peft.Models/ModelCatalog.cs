using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models.Layers;
using Peft.Models.Llama;

namespace Peft.Models;

/// <summary>Every supported <c>model_type</c>, one line each. A new family is one file and one line here.</summary>
public static class ModelCatalog
{
    private static readonly List<ModelFamily> All =
    [
        LlamaModel.Family("llama", LlamaConfig.FromLlama),
        LlamaModel.Family("mistral", LlamaConfig.FromMistral),
        LlamaModel.Family("qwen2", LlamaConfig.FromQwen2),
        LlamaModel.Family("qwen3", LlamaConfig.FromQwen3),
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
