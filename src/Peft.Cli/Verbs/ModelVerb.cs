using CommandLine;
using Peft.Formats;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Recipes;

namespace Peft.Cli.Verbs;

/// <summary>Options of the verbs that run a model: base, adapter, type, device.</summary>
public abstract class ModelVerb
{
    /// <summary>The base model.</summary>
    [Option("base", MetaValue = "DIR", HelpText =
        "Base model in Hugging Face layout (default: the base the adapter names).")]
    public string? Base { get; set; }

    /// <summary>The adapter.</summary>
    [Option("adapter", MetaValue = "DIR", HelpText = "A bundle, or a LoRA directory written by Hugging Face PEFT.")]
    public string? Adapter { get; set; }

    /// <summary>Type of the base weights.</summary>
    [Option("dtype", Default = "auto", MetaValue = "T", HelpText =
        "Type of the base weights: auto, float32, bfloat16, float16 or float64.")]
    public string Dtype { get; set; } = "auto";

    /// <summary>Where to compute.</summary>
    [Option("device", Default = "auto", MetaValue = "D", HelpText = "Where to compute: auto, cpu or cuda:N.")]
    public string Device { get; set; } = "auto";

    /// <summary>Loads what the options name.</summary>
    protected LoadedModel Load()
    {
        if (!ModelOptions.Dtypes.Contains(Dtype))
            throw UserException.At("--dtype", Quote.Of(Dtype), Words.OneOf([.. ModelOptions.Dtypes]));
        return LoadedModel.Open(Base, Adapter, Dtype, Devices.Choose(Device));
    }

    /// <summary>A prompt as training and evaluation encode it, checked against the model's context.</summary>
    protected static EncodedPrompt Encode(TextEncoder encoder, CausalLanguageModel model, string prompt,
        string place = "--prompt")
    {
        var encoded = encoder.Prompt(prompt);
        if (encoded.Ids.Count > model.Config.MaxPositionEmbeddings)
            throw UserException.At(
                place, Words.Count(encoded.Ids.Count, "token"),
                $"at most {model.Config.MaxPositionEmbeddings}, the length of the model's context",
                "shorten the prompt");
        return encoded;
    }
}
