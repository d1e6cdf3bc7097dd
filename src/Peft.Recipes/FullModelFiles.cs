using Peft.Formats.Files;
using Peft.Formats.HuggingFace;
using Peft.Models;
using Peft.Models.Loading;
using Peft.Torch;

namespace Peft.Recipes;

/// <summary>The files of a whole model in Hugging Face layout: what <c>method: full</c> writes.</summary>
public sealed class FullModelFiles
{
    /// <summary>The tensors.</summary>
    public const string Weights = "model.safetensors";

    private static readonly string[] TokenizerFiles =
        ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"];

    private readonly ModelConfigFile _config;
    private readonly string _tokenizer;

    private FullModelFiles(ModelConfigFile config, string tokenizer) => (_config, _tokenizer) = (config, tokenizer);

    /// <summary>Takes config.json from one directory and the tokenizer from another.</summary>
    public static FullModelFiles From(string directory, string tokenizer) => new(ModelConfigFile.Read(directory), tokenizer);

    /// <summary>Writes config.json, the tensors in a type, and the tokenizer.</summary>
    public void Save(string target, CausalLanguageModel model, ScalarType dtype)
    {
        ModelSaver.Save(target, model, _config.Map, dtype);
        foreach (var name in TokenizerFiles)
        {
            var from = Path.Combine(_tokenizer, name);
            var to = Path.Combine(target, name);
            if (File.Exists(from) && Path.GetFullPath(from) != Path.GetFullPath(to))
                Copy(from, to);
        }
    }

    // A crash must not leave half a tokenizer.
    private static void Copy(string from, string to)
    {
        using var source = File.OpenRead(from);
        AtomicFile.Write(to, source.CopyTo);
    }
}
