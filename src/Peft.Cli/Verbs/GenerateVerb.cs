using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using CommandLine;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Recipes;

namespace Peft.Cli.Verbs;

/// <summary>Text from a model.</summary>
[Verb("generate", HelpText = "Continue prompts with a model or an adapter on it.")]
public sealed class GenerateVerb : ModelVerb, IVerb
{
    private const string Stdin = "-";
    private const long FirstSeed = 42;
    private static readonly JsonSerializerOptions Readable =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The prompt.</summary>
    [Option("prompt", MetaValue = "TEXT", HelpText =
        "The text to continue; '-' reads one prompt a line from standard input.")]
    public string? Prompt { get; set; }

    /// <summary>Standard input.</summary>
    [Value(0, MetaName = "-", HelpText = "Read prompts from standard input, one a line.")]
    public string? Input { get; set; }

    /// <summary>Output for programs.</summary>
    [Option("jsonl", HelpText = "Print each prompt and its answer as one line of JSON.")]
    public bool Jsonl { get; set; }

    /// <summary>Longest continuation.</summary>
    [Option("max-new-tokens", Default = 128, MetaValue = "N", HelpText = "Maximum number of new tokens.")]
    public int MaxNewTokens { get; set; }

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

    /// <summary>Leaves the prompt out.</summary>
    [Option("no-prompt", HelpText = "Print the continuation only.")]
    public bool NoPrompt { get; set; }

    /// <inheritdoc/>
    /// <remarks>Started below, after the options were checked.</remarks>
    public bool UsesTensors => false;

    /// <inheritdoc/>
    public int Run(Output output)
    {
        Require(MaxNewTokens >= 1, "--max-new-tokens", MaxNewTokens, "a whole number of at least 1");
        Require(Temperature >= 0 && double.IsFinite(Temperature), "--temperature", Temperature,
            "a number of at least 0");
        Require(TopP is null or (> 0 and <= 1), "--top-p", TopP, "a number above 0 and at most 1");
        Require(TopK is null or >= 0, "--top-k", TopK, "a whole number of at least 0");
        RequireSampling();
        if (Input is not (null or Stdin))
            throw UserException.At("peft generate", $"{Quote.Of(Input)} is one word too many",
                "--prompt TEXT, or '-' for prompts from standard input", "put quotes around a prompt of several words");
        if (Prompt is null == Input is null)
            throw UserException.At(
                "--prompt", Prompt is null ? "missing" : "given beside -",
                "--prompt TEXT, or '-' for prompts from standard input");
        TorchRuntime.Start();
        using var loaded = Load();
        if (Input is null && Prompt != Stdin)
        {
            Continue(loaded, Prompt!, "--prompt", output);
            return ExitCode.Done;
        }
        foreach (var (i, line) in Output.InputLines().Index())
            Continue(loaded, line, $"standard input line {i + 1}", output);
        return ExitCode.Done;
    }

    private void Continue(LoadedModel loaded, string text, string place, Output output)
    {
        var encoder = loaded.Encoder;
        var prompt = Encode(encoder, loaded.Model, text, place);
        var options = new GenerationOptions
        {
            MaxNewTokens = MaxNewTokens,
            Temperature = Temperature,
            TopP = TopP ?? 1,
            TopK = TopK ?? 0,
            Seed = Seed ?? FirstSeed,
            EosTokenIds = encoder.Ends,
        };
        // Checks the ids: nothing is printed before a refusal.
        var continuation = TextGeneration.Generate(loaded.Model, prompt.Ids, options);
        if (!NoPrompt && !Jsonl)
            output.ResultPart(text);
        var answer = new StringBuilder();
        Action<string> write = Jsonl ? piece => answer.Append(piece) : output.ResultPart;
        var decoder = loaded.Tokenizer.NewDecoder(skipSpecialTokens: true);
        foreach (var id in prompt.Ids)
            decoder.Append(id);
        var held = prompt.HeldBack;
        foreach (var id in continuation.TakeWhile(id => !encoder.Ends.Contains(id)))
            write(EncodedPrompt.Continuation(decoder.Append(id), ref held));
        write(EncodedPrompt.Continuation(decoder.Flush(), ref held));
        output.Result(Jsonl ? JsonLine(text, answer.ToString()) : "");
    }

    // Letters stay readable: the line is for files, not for web pages.
    private string JsonLine(string prompt, string answer)
    {
        var line = new Dictionary<string, string>();
        if (!NoPrompt)
            line["prompt"] = prompt;
        line["answer"] = answer;
        return JsonSerializer.Serialize(line, Readable);
    }

    // Nothing is drawn at temperature 0.
    private void RequireSampling()
    {
        var given = new (object? Value, string Name)[] { (TopP, "--top-p"), (TopK, "--top-k"), (Seed, "--seed") }
            .Where(option => option.Value is not null).Select(option => option.Name).ToList();
        if (Temperature == 0 && given.Count > 0)
            throw UserException.At(
                Words.AllOf(given), "no effect with --temperature 0", null,
                $"remove {(given.Count == 1 ? "it" : "them")}, or add a temperature, such as --temperature 1");
    }

    private static void Require(bool holds, string option, IFormattable? found, string expected)
    {
        if (!holds)
            throw UserException.At(option, found!.ToString(null, CultureInfo.InvariantCulture), expected);
    }
}
