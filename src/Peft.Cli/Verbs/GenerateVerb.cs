using CommandLine;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Models;

namespace Peft.Cli.Verbs;

/// <summary>Text from a model.</summary>
[Verb("generate", HelpText = "Continues a prompt with a base model, with an adapter on it if given.")]
public sealed class GenerateVerb : ModelVerb, IVerb
{
    /// <summary>The prompt.</summary>
    [Option("prompt", Required = true, MetaValue = "TEXT", HelpText = "Text to continue.")]
    public string Prompt { get; set; } = "";

    /// <summary>Longest continuation.</summary>
    [Option("max-new-tokens", Default = 128, MetaValue = "N", HelpText = "Most tokens to add.")]
    public int MaxNewTokens { get; set; }

    /// <summary>Randomness.</summary>
    [Option("temperature", Default = 0.0, MetaValue = "T", HelpText = "0 takes the most probable token each time.")]
    public double Temperature { get; set; }

    /// <summary>Nucleus.</summary>
    [Option("top-p", Default = 1.0, MetaValue = "P", HelpText = "Draw among the most probable tokens that hold this share.")]
    public double TopP { get; set; }

    /// <summary>Number of candidates.</summary>
    [Option("top-k", Default = 0, MetaValue = "K", HelpText = "Draw among the K most probable tokens; 0: all.")]
    public int TopK { get; set; }

    /// <summary>Seed of the draws.</summary>
    [Option("seed", Default = 42L, MetaValue = "S", HelpText = "Same seed, same text.")]
    public long Seed { get; set; }

    /// <summary>Leaves the prompt out.</summary>
    [Option("no-prompt", HelpText = "Print the continuation alone.")]
    public bool NoPrompt { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
        Require(MaxNewTokens >= 1, "--max-new-tokens", MaxNewTokens, "at least 1");
        Require(Temperature >= 0 && double.IsFinite(Temperature), "--temperature", Temperature, "at least 0");
        Require(TopP is > 0 and <= 1, "--top-p", TopP, "above 0, at most 1");
        Require(TopK >= 0, "--top-k", TopK, "at least 0");
        using var loaded = Load();
        var ids = Encode(loaded.Tokenizer, loaded.Model, Prompt);
        var options = new GenerationOptions
        {
            MaxNewTokens = MaxNewTokens,
            Temperature = Temperature,
            TopP = TopP,
            TopK = TopK,
            Seed = Seed,
            EosTokenIds = loaded.Model.Config.EosTokenIds,
        };
        // Checks the ids; nothing shall be printed before a refusal.
        var continuation = TextGeneration.Generate(loaded.Model, ids, options);
        if (!NoPrompt)
            output.ResultPart(Prompt);
        var decoder = loaded.Tokenizer.NewDecoder(skipSpecialTokens: true);
        foreach (var id in ids)
            decoder.Append(id);
        foreach (var id in continuation)
            output.ResultPart(decoder.Append(id));
        output.Result(decoder.Flush());
        return ExitCode.Done;
    }

    private static void Require(bool holds, string option, object found, string allowed)
    {
        if (!holds)
            throw new UserException($"{option} {found}: must be {allowed}");
    }
}
