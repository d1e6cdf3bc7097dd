using CommandLine;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Recipes.Transfer;

namespace Peft.Cli.Verbs;

/// <summary>An adapter of Hugging Face PEFT, or an exported mixture, becomes a bundle.</summary>
[Verb("adapter-import", HelpText = "Make a bundle from an adapter of Hugging Face PEFT.")]
public sealed class ImportVerb : IVerb
{
    /// <summary>The adapter.</summary>
    [Value(0, MetaName = "DIR", Required = true, HelpText =
        "A LoRA directory written by Hugging Face PEFT, or an exported mixture.")]
    public string Directory { get; set; } = "";

    /// <summary>The base.</summary>
    [Option("base", MetaValue = "DIR", HelpText = "Base model (default: the base the adapter names).")]
    public string? Base { get; set; }

    /// <summary>Where to write.</summary>
    [Option("output", Required = true, MetaValue = "DIR", HelpText = "Directory of the bundle to write.")]
    public string OutputDir { get; set; } = "";

    /// <summary>Replace.</summary>
    [Option("overwrite", HelpText = "Replace an adapter or model in the output directory.")]
    public bool Overwrite { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
        using var interruption = new Interruption(output);
        var manifest = AdapterImport.Run(
            Directory, Base, OutputDir, Overwrite, line => output.Error("warning: " + line), interruption.Token);
        var adapter = manifest.Adapter;
        output.Result(
            $"{OutputDir}: imported "
            + (adapter.IsPlainLora
                ? "a LoRA"
                : $"{Words.Count(adapter.Experts.Count, "expert")} behind router {adapter.Router!.Kind}")
            + $" of rank {adapter.R}, {Words.Count(manifest.TrainableParameters, "parameter")}");
        return ExitCode.Done;
    }
}
