using Peft.Adapters.Bundles;
using Peft.Data;
using Peft.Evaluation;
using Peft.Evaluation.Metrics;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Files;
using Peft.Formats.Tokenizers;
using Peft.Training;

namespace Peft.Recipes;

/// <summary>A run that is ready to start: trains, keeps the result, measures it.</summary>
public sealed class PreparedRun(Recipe recipe, OutputDirectory output, HuggingFaceTokenizer tokenizer, TrainingRun run) : IDisposable
{
    /// <summary>The recipe.</summary>
    public Recipe Recipe => recipe;

    /// <summary>What is trained.</summary>
    public ITrainable Trainable => run.Trainable;

    /// <summary>The data.</summary>
    public TrainingData Data => run.Data;

    /// <summary>The parts that the loop works with.</summary>
    public TrainingRun Training => run;

    /// <summary>Number of trainable parameters.</summary>
    public long TrainableParameters => run.Trainable.Parameters.Sum(p => p.Parameter.numel());

    /// <summary>The number of trainable parameters of each module with adapters, or of each parameter of a whole model.</summary>
    public IReadOnlyList<(string Name, long Count)> TrainableParameterCounts => Trainable.Modules.Count == 0
        ? [.. Trainable.Parameters.Select(p => (p.Name, p.Parameter.numel()))]
        : [.. Trainable.Modules.Select(module => (module.Path, module.AdapterParameters()
            .Where(p => p.Parameter.requires_grad).Sum(p => p.Parameter.numel())))];

    /// <summary>Trains; when all steps are done, writes the result into the output directory.</summary>
    public TrainingOutcome Train(StopRequest stop)
    {
        // A bundle that a continued run found has its own, which its manifest vouches for; that one is replaced with the bundle.
        if (!BundleFiles.IsBundle(output.Path))
            AtomicFile.WriteText(Path.Combine(output.Path, BundleFiles.Recipe), ConfigText.ToYaml(recipe.Resolved));
        var outcome = new TrainingLoop(run).Run(stop);
        if (outcome.End == TrainingEnd.Finished)
            run.Trainable.SaveResult(output.Path);
        return outcome;
    }

    /// <summary>Measures the bare base on the recipe's tasks; null when there is nothing to measure.</summary>
    public EvaluationResults? MeasureBase()
    {
        if (recipe.Evaluation.Tasks.Count == 0 || !recipe.Evaluation.Base || recipe.Method == Recipe.Full)
            return null;
        using var model = LoadedModel.OpenBase(recipe.Paths.Resolve(recipe.Model.Directory), recipe.Model.Dtype, run.Device);
        return new("base", 0, Answer(model));
    }

    /// <summary>Measures what was trained on the recipe's tasks and keeps the numbers beside the result.</summary>
    public EvaluationResults? MeasureTrained()
    {
        if (recipe.Evaluation.Tasks.Count == 0)
            return null;
        var results = new EvaluationResults(recipe.Name, TrainableParameters, Answer(run.Trainable.Model));
        results.Save(Path.Combine(output.Path, EvaluationResults.FileName));
        return results;
    }

    /// <summary>The results that the recipe wants beside its own, as recorded.</summary>
    /// <exception cref="UserException">A file of recorded results is missing or damaged.</exception>
    public IReadOnlyList<(string Name, EvaluationResults Results)> Baselines() =>
        [.. recipe.Evaluation.Baselines.Select(b => (b.Name, EvaluationResults.Load(recipe.Paths.Resolve(b.Results))))];

    /// <summary>Frees model and data.</summary>
    public void Dispose()
    {
        foreach (var sink in run.Sinks)
            sink.Dispose();
        run.Optimizer.Dispose();
        run.Trainable.Dispose();
        run.Data.Dispose();
    }

    // Ids of tasks are those of training.
    private IReadOnlyList<TaskResult> Answer(Models.CausalLanguageModel model) => new TaskMeasurement(recipe, tokenizer).Of(
        model, task => run.Data.TaskNames.Index().Where(known => known.Item == task).Select(known => (long?)known.Index).FirstOrDefault());
}
