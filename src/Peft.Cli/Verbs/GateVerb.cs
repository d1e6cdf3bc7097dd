using System.Text.Json;
using CommandLine;
using Peft.Adapters.Bundles;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Formats.Files;
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

    /// <summary>What it was trained for.</summary>
    [Option("describe", MetaValue = "TEXT", HelpText =
        "Also store what the adapter was trained for, in words that the base embeds (merge --method glider).")]
    public string? Describe { get; set; }

    /// <summary>The same as a vector.</summary>
    [Option("vector", MetaValue = "FILE", HelpText =
        "Take the vector of the description from a JSON array of numbers instead of the base.")]
    public string? VectorFile { get; set; }

    /// <summary>Whether the gate stays.</summary>
    [Option("keep", HelpText = "Keep the gate that is there; only the description is new.")]
    public bool Keep { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
        var isDescribed = Describe is not null || VectorFile is not null;
        if (Keep && !isDescribed)
            throw UserException.At("--keep", "no --describe and no --vector beside it", "what is to be stored");
        if (Keep && VectorFile is not null && (Recipe ?? Base ?? Set.FirstOrDefault()) is { } unused)
            throw UserException.At(
                "--keep", $"{Quote.Of(unused)} has no effect beside it and --vector: nothing is computed", null,
                "remove it");
        var recipe = Keep && VectorFile is not null ? null : GateTraining.RecipeOf(Adapter, Recipe, Base, Set);
        // Looked at before anything is trained.
        var task = !isDescribed ? null
            : VectorFile is { } file ? new TaskEmbedding(Describe ?? "", true, VectorReader.Read("--vector", file))
            : GateTraining.Embed(recipe!, Describe!, Devices.Choose(Device));
        if (!Keep)
            Train(recipe!, output);
        if (task is not null)
        {
            GateFile.Describe(Adapter, task);
            output.Say($"{Adapter}: description saved in {GateFile.Name}");
        }

        return ExitCode.Done;
    }

    private void Train(Recipe recipe, Output output)
    {
        var outcome = GateTraining.Run(
            Adapter, recipe, Devices.Choose(Device), new TrainingProgress(output, recipe.Training.LoggingSteps));
        output.Say($"{Adapter}: gate saved as {GateFile.Name} after {Words.Count(outcome.Steps, "step")}");
    }
}

/// <summary>Files that hold one vector.</summary>
internal static class VectorReader
{
    private const long MostBytes = 64L << 20;

    /// <summary>Reads a JSON array of numbers.</summary>
    /// <param name="option">The option that names it.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="UserException">It is none, or not all of it is finite.</exception>
    public static IReadOnlyList<float> Read(string option, string path)
    {
        var values = JsonFile.Read<float[]>(
            path, MostBytes, JsonSerializerOptions.Default, "a JSON array of numbers");
        return values.Length > 0 && Array.TrueForAll(values, float.IsFinite) ? values
            : throw UserException.At(
                option, $"{path} holds {Words.Count(values.Length, "number")}, not all of them finite",
                "at least one, all finite");
    }
}
