using Peft.Formats.Configuration;

namespace Peft.Recipes;

/// <summary>The <c>model:</c> section of a recipe: which base model, and how it is held.</summary>
public sealed record ModelOptions
{
    /// <summary>The types a model can be held in.</summary>
    public static IReadOnlyList<string> Dtypes { get; } = ["auto", "float32", "bfloat16", "float16", "float64"];

    /// <summary>Directory of the base model in Hugging Face layout.</summary>
    public string ModelNameOrPath { get; init; } = "";

    /// <summary>Type of the base weights.</summary>
    /// <value>Default auto: the file's type where this machine computes it fast, else float32.</value>
    public string Dtype { get; init; } = "auto";

    /// <summary>Directory of the tokenizer; the model's own when absent.</summary>
    public string? Tokenizer { get; init; }

    /// <summary>For <c>method: full</c> from nothing: directory that holds the config.json of a model to be made.</summary>
    public string? FromConfig { get; init; }

    /// <summary>For <c>method: full</c>: type the trained model is saved in.</summary>
    /// <value>Default bfloat16.</value>
    public string SaveDtype { get; init; } = "bfloat16";

    /// <summary>Where the tokenizer is.</summary>
    public string TokenizerDirectory => Tokenizer ?? (ModelNameOrPath.Length > 0 ? ModelNameOrPath : FromConfig!);

    /// <summary>What to do about a directory that is not there.</summary>
    internal static string AdviceFor(string path) => path.Count(c => c == '/') == 1 && path[0] is not ('.' or '/' or '~')
        ? $"check the path; nothing is downloaded here: a model of the Hub is fetched with: hf download {path} --local-dir DIR"
        : "check the path";

    /// <summary>Reads and checks the section.</summary>
    public static ModelOptions Read(OptionReader reader, string method)
    {
        var path = reader.OptionalText("model_name_or_path");
        var config = method == Recipe.Full ? reader.OptionalText("from_config") : null;
        if (path is null && config is null)
            reader.Fault("model_name_or_path", "missing", "directory of a model in Hugging Face layout", "e.g. data/base");
        if (path is not null && config is not null)
            reader.Fault("from_config", "both a model and a config", "one of model_name_or_path and from_config");
        return new()
        {
            ModelNameOrPath = path ?? "",
            FromConfig = config,
            Tokenizer = reader.OptionalText("tokenizer"),
            Dtype = reader.Choice("dtype", method == Recipe.Full ? "float32" : "auto", Dtypes),
            SaveDtype = method == Recipe.Full ? reader.Choice("save_dtype", "bfloat16", Dtypes) : "bfloat16",
        };
    }
}
