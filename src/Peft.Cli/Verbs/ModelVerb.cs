using System.Globalization;
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

    /// <summary>The task of the input.</summary>
    [Option("task", MetaValue = "NAME", HelpText =
        "Task of the input, for adapters whose experts go by task (as data.train named it).")]
    public string? Task { get; set; }

    /// <summary>The id of the task that the options name; null where the adapter's experts do not go by task.</summary>
    /// <exception cref="UserException">It is missing, unknown, or of no effect.</exception>
    protected long? TaskIdIn(LoadedModel loaded) => (loaded.Tasks, Task) switch
    {
        (null, null) => null,
        (null, _) => throw UserException.At(
            "--task", $"{Quote.Of(Task)}, and {(Adapter is null ? "no adapter" : "experts that do not go by task")}",
            null, "remove it"),
        (var tasks, null) => throw tasks.Missing("--task"),
        var (tasks, task) => tasks.IdOf(task, "--task"),
    };

    /// <summary>Loads what the options name.</summary>
    protected LoadedModel Load()
    {
        var faults = new Faults();
        CheckModel(faults);
        faults.ThrowIfAny();
        return LoadedModel.Open(Base, Adapter, Dtype, Devices.Choose(Device));
    }

    /// <summary>Notes what of these options is out of range.</summary>
    protected void CheckModel(Faults faults)
    {
        if (!ModelOptions.Dtypes.Contains(Dtype))
            faults.Add("--dtype", Quote.Of(Dtype), Words.OneOf([.. ModelOptions.Dtypes]));
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

/// <summary>Options of the verbs that write text.</summary>
public abstract class SamplingVerb : ModelVerb
{
    private const long FirstSeed = 42;

    /// <summary>Longest continuation.</summary>
    public abstract int MaxNewTokens { get; set; }

    /// <summary>Randomness.</summary>
    [Option("temperature", Default = 0.0, MetaValue = "T", HelpText =
        "Sampling temperature; 0 always takes the most likely token.")]
    public double Temperature { get; set; }

    /// <summary>Nucleus.</summary>
    [Option("top-p", MetaValue = "P", HelpText =
        "Sample from the most likely tokens that together have this probability (default: 1).")]
    public double? TopP { get; set; }

    /// <summary>Number of candidates.</summary>
    [Option("top-k", MetaValue = "K", HelpText =
        "Sample from the K most likely tokens; 0 means all (default: 0).")]
    public int? TopK { get; set; }

    /// <summary>Seed of the draws.</summary>
    [Option("seed", MetaValue = "S", HelpText =
        "Seed of the sampling; the same seed gives the same text (default: 42).")]
    public long? Seed { get; set; }

    /// <summary>The chat template.</summary>
    [Option("chat-template", MetaValue = "NAME|FILE", HelpText =
        "Chat template: a common one by name (chatml, llama3, ...), a file, or its text (default: the adapter's, then "
        + "the base's).")]
    public string? ChatTemplate { get; set; }

    /// <summary>Notes values out of range.</summary>
    protected void CheckSampling(Faults faults)
    {
        CheckModel(faults);
        Require(faults, MaxNewTokens >= 1, "--max-new-tokens", MaxNewTokens, "a whole number of at least 1");
        Require(faults, Temperature >= 0 && double.IsFinite(Temperature), "--temperature", Temperature,
            "a number of at least 0");
        Require(faults, TopP is null or (> 0 and <= 1), "--top-p", TopP, "a number above 0 and at most 1");
        Require(faults, TopK is null or >= 0, "--top-k", TopK, "a whole number of at least 0");
        if (!faults.Any)
            RequireSampling(faults);
    }

    /// <summary>What the options say for a model, without ends of a text.</summary>
    /// <exception cref="UserException">The task is missing, unknown, or of no effect.</exception>
    protected GenerationOptions Sampling(LoadedModel loaded, int maxNewTokens)
    {
        loaded.RequireDecoding();
        return new()
        {
            TaskId = TaskIdIn(loaded),
            MaxNewTokens = maxNewTokens,
            Temperature = Temperature,
            TopP = TopP ?? 1,
            TopK = TopK ?? 0,
            Seed = Seed ?? FirstSeed,
        };
    }

    // Nothing is drawn at temperature 0.
    private void RequireSampling(Faults faults)
    {
        var given = new (object? Value, string Name)[] { (TopP, "--top-p"), (TopK, "--top-k"), (Seed, "--seed") }
            .Where(option => option.Value is not null).Select(option => option.Name).ToList();
        if (Temperature == 0 && given.Count > 0)
            faults.Add(
                Words.AllOf(given), "no effect with --temperature 0", null,
                $"remove {(given.Count == 1 ? "it" : "them")}, or add a temperature, such as --temperature 1");
    }

    private static void Require(Faults faults, bool holds, string option, IFormattable? found, string expected)
    {
        if (!holds)
            faults.Add(option, found!.ToString(null, CultureInfo.InvariantCulture), expected);
    }
}
