using CommandLine;
using Peft.Cli.Printing;
using Peft.Recipes.Transfer;

namespace Peft.Cli.Verbs;

/// <summary>Checks an adapter: hashes, keys, shapes, finite numbers, and that it fits its base.</summary>
[Verb("adapter-verify", HelpText = "Check an adapter: hashes, shapes, values, base.")]
public sealed class VerifyVerb : IVerb
{
    /// <summary>The adapter.</summary>
    [Value(0, MetaName = "DIR", Required = true, HelpText =
        "A bundle, an exported mixture, or a LoRA directory written by Hugging Face PEFT.")]
    public string Directory { get; set; } = "";

    /// <summary>The base.</summary>
    [Option("base", MetaValue = "DIR", HelpText = "Base model (default: the base the adapter names).")]
    public string? Base { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
        output.Result(AdapterVerification.Run(Directory, Base, line => output.Error("warning: " + line)));
        return ExitCode.Done;
    }
}
