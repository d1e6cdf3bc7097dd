using CommandLine;
using Peft.Cli.Printing;
using Peft.Recipes.Transfer;

namespace Peft.Cli.Verbs;

/// <summary>An adapter of Hugging Face PEFT, or an exported mixture, becomes a bundle.</summary>
[Verb("adapter-import", HelpText = "Makes a bundle of a LoRA directory that Hugging Face PEFT wrote, or of an exported mixture.")]
public sealed class ImportVerb : IVerb
{
    /// <summary>The adapter.</summary>
    [Value(0, MetaName = "DIR", Required = true, HelpText = "A LoRA directory of Hugging Face PEFT, or an exported mixture.")]
    public string Directory { get; set; } = "";

    /// <summary>The base.</summary>
    [Option("base", MetaValue = "DIR", HelpText = "Base model (default: the one the adapter names).")]
    public string? Base { get; set; }

    /// <summary>Where to write.</summary>
    [Option("output", Required = true, MetaValue = "DIR", HelpText = "The bundle to write.")]
    public string OutputDir { get; set; } = "";

    /// <summary>Whether an earlier result goes.</summary>
    [Option("overwrite", HelpText = "Replace an adapter or model that stands there.")]
    public bool Overwrite { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
        using var interruption = new Interruption(output);
        var manifest = AdapterImport.Run(
            Directory, Base, OutputDir, Overwrite, line => output.Error("warning: " + line), interruption.Token);
        var adapter = manifest.Adapter;
        output.Result(
            $"{OutputDir}: imported - " + (adapter.IsPlainLora ? "a LoRA" : $"{adapter.Experts.Count} experts, router {adapter.Router!.Kind}")
            + $", rank {adapter.R}, {manifest.TrainableParameters:N0} values");
        return ExitCode.Done;
    }
}
