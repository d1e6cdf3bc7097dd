using CommandLine;
using Peft.Adapters.Bundles;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Recipes;

namespace Peft.Cli.Verbs;

/// <summary>Trains a gate for one frozen adapter.</summary>
[Verb("gate", HelpText = "Train a gate for one frozen adapter (PHATGOOSE).")]
public sealed class GateVerb : IVerb
{
    /// <summary>The adapter.</summary>
    [Option("adapter", Required = true, MetaValue = "DIR", HelpText =
        "A plain LoRA: a bundle, or a directory written by Hugging Face PEFT. The gate is stored in it.")]
    public string Adapter { get; set; } = "";

    /// <summary>The data.</summary>
    [Option("recipe", MetaValue = "FILE", HelpText =
        "Recipe whose data and training sections are used (default: the bundle's own).")]
    public string? Recipe { get; set; }

    /// <summary>The base.</summary>
    [Option("base", MetaValue = "DIR", HelpText = "Base model (default: the recipe's).")]
    public string? Base { get; set; }

    /// <summary>Overrides.</summary>
    [Option("set", MetaValue = "a.b=v", HelpText =
        "Override a key of the recipe (training.max_steps is 100); may be repeated.")]
    public IEnumerable<string> Set { get; set; } = [];

    /// <summary>Where to compute.</summary>
    [Option("device", Default = "auto", MetaValue = "D", HelpText = "Where to compute: auto, cpu or cuda:N.")]
    public string Device { get; set; } = "auto";

    /// <inheritdoc/>
    public int Run(Output output)
    {
        var recipe = GateTraining.RecipeOf(Adapter, Recipe, Base, Set);
        var outcome = GateTraining.Run(
            Adapter, recipe, Devices.Choose(Device), new TrainingProgress(output, recipe.Training.LoggingSteps));
        output.Say($"{Adapter}: gate saved as {GateFile.Name} after {Words.Count(outcome.Steps, "step")}");
        return ExitCode.Done;
    }
}
