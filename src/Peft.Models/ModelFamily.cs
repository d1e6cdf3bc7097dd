using Peft.Formats.HuggingFace;
using Peft.Models.Loading;

namespace Peft.Models;

/// <summary>One supported <c>model_type</c>: how its config is read and how the model is built from weights.</summary>
/// <param name="ModelType">Hugging Face's <c>model_type</c>.</param>
/// <param name="ReadConfig">Reads config.json; collects every fault before it throws.</param>
/// <param name="Build">Builds the model, taking each tensor by name from the source.</param>
/// <param name="IgnoredSuffixes">Ends of the names of tensors that checkpoints may carry and the model computes itself.</param>
public sealed record ModelFamily(
    string ModelType,
    Func<ModelConfigFile, ModelConfig> ReadConfig,
    Func<ModelConfig, WeightSource, CausalLanguageModel> Build,
    IReadOnlyList<string> IgnoredSuffixes);
