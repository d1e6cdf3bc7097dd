using Peft.Formats.Files;
using Peft.Formats.HuggingFace;
using Peft.Models;
using Peft.Models.Loading;
using Peft.Training;

namespace Peft.Recipes;

/// <summary>All parameters of a model: the result is a model in Hugging Face layout.</summary>
internal sealed class FullModelTrainable : ITrainable
{
    private readonly FullModelFiles _files;
    private readonly ScalarType _savedAs;

    /// <summary>Opens all parameters of a model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="files">Its config and tokenizer.</param>
    /// <param name="savedAs">Type of the result; checkpoints have the model's own.</param>
    public FullModelTrainable(CausalLanguageModel model, FullModelFiles files, ScalarType savedAs)
    {
        (Model, _files, _savedAs) = (model, files, savedAs);
        model.RequireGrad(true);
        Parameters = model.BaseParameters;
    }

    public CausalLanguageModel Model { get; }

    public IReadOnlyList<(string Name, Parameter Parameter)> Parameters { get; }

    public void SaveExactly(string directory) => _files.Save(directory, Model, Model.Dtype);

    public void SaveResult(string directory) => _files.Save(directory, Model, _savedAs);

    public void Restore(string directory) =>
        TensorFile.ReadInto(Path.Combine(directory, FullModelFiles.Weights), [.. Model.StateDict()]);

    public void Dispose() => Model.Dispose();
}

/// <summary>The files of a whole model in Hugging Face layout: what <c>method: full</c> writes.</summary>
public sealed class FullModelFiles
{
    /// <summary>The tensors.</summary>
    public const string Weights = ModelSaver.SingleFile;

    // The tokenizer in every form it is published in, and what belongs to the weights.
    private static readonly string[] CopiedFiles =
    [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "chat_template.jinja", "tokenizer.model",
        "spiece.model", "vocab.json", "merges.txt", "generation_config.json", "LICENSE", "LICENSE.txt", "LICENSE.md",
        "NOTICE", "USE_POLICY.md",
    ];

    /// <summary>Whether a file's name is one of a tokenizer or of what belongs to weights.</summary>
    public static bool IsCopied(string name) => CopiedFiles.Contains(name);

    private readonly ModelConfigFile _config;
    private readonly string _tokenizer;
    private readonly string? _chatTemplate;

    private FullModelFiles(ModelConfigFile config, string tokenizer, string? chatTemplate) =>
        (_config, _tokenizer, _chatTemplate) = (config, tokenizer, chatTemplate);

    /// <summary>Takes config.json from one directory and the tokenizer from another.</summary>
    /// <param name="directory">Has config.json.</param>
    /// <param name="tokenizer">Has the tokenizer.</param>
    /// <param name="chatTemplate">The chat template that the model was trained with; null for the tokenizer's
    /// own.</param>
    public static FullModelFiles From(string directory, string tokenizer, string? chatTemplate = null) =>
        new(ModelConfigFile.Read(directory), tokenizer, chatTemplate);

    /// <summary>Writes config.json, the tensors in a type, and the tokenizer.</summary>
    /// <param name="target">The directory.</param>
    /// <param name="model">The model.</param>
    /// <param name="dtype">The type.</param>
    /// <param name="transform">Changes a tensor on its way out; null: as it is.</param>
    /// <param name="maxShardSize">Most bytes of tensors in one file.</param>
    /// <param name="ownHead">The head that a tied model gets, before <paramref name="transform"/>; null: none.</param>
    public void Save(
        string target, CausalLanguageModel model, ScalarType dtype, Func<string, Tensor, Tensor>? transform = null,
        long maxShardSize = long.MaxValue, (string Name, Tensor Weight)? ownHead = null)
    {
        ModelSaver.Save(target, model, _config.Map, dtype, transform, maxShardSize, ownHead);
        foreach (var name in CopiedFiles)
        {
            var from = Path.Combine(_tokenizer, name);
            var to = Path.Combine(target, name);
            if (File.Exists(from) && Path.GetFullPath(from) != Path.GetFullPath(to))
                Copy(from, to);
        }

        if (_chatTemplate is not null)
            AtomicFile.WriteText(Path.Combine(target, "chat_template.jinja"), _chatTemplate);
    }

    // A crash must not leave half a tokenizer.
    private static void Copy(string from, string to)
    {
        using var source = File.OpenRead(from);
        AtomicFile.Write(to, source.CopyTo);
    }
}
