using Peft.Evaluation;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Scoring;
using Peft.Evaluation.Tasks;
using Peft.Formats;
using Peft.Formats.Tokenizers;
using Peft.Models;

namespace Peft.Recipes;

/// <summary>Measures models on a recipe's tasks, the rows read once.</summary>
public sealed class TaskMeasurement
{
    private readonly Recipe _recipe;
    private readonly HuggingFaceTokenizer _tokenizer;
    private readonly IReadOnlyList<TaskData> _tasks;

    /// <summary>Reads the rows.</summary>
    /// <exception cref="UserException">The recipe's files cannot be used.</exception>
    public TaskMeasurement(Recipe recipe, HuggingFaceTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(recipe);
        _recipe = recipe;
        _tokenizer = tokenizer;
        _tasks = TaskData.Open(
            RecipeTasks.Of(recipe.Evaluation, recipe.Data, recipe.Path), null, recipe.Training.Seed, (_, file) => recipe.Paths.Resolve(file));
    }

    /// <summary>The numbers of a model, the first metric of each task.</summary>
    /// <param name="model">The model.</param>
    /// <param name="taskIdOf">The id of a task by name, for routers that go by it.</param>
    public IReadOnlyList<TaskResult> Of(CausalLanguageModel model, Func<string, long?> taskIdOf)
    {
        var evaluator = new TaskEvaluator(model, _tokenizer, _recipe.Training.PerDeviceEvalBatchSize);
        return [.. _tasks.Select(task => Judge(task, evaluator.Run(task, taskIdOf(task.Task.Name))))];
    }

    /// <summary>The numbers of the recipe's base with an adapter on it, or of the bare base.</summary>
    /// <param name="name">What the results are called.</param>
    /// <param name="adapter">The adapter; null: none.</param>
    /// <param name="device">Where to compute.</param>
    public EvaluationResults Of(string name, string? adapter, Device device)
    {
        using var loaded = LoadedModel.Open(_recipe.Paths.Resolve(_recipe.Model.Directory), adapter, _recipe.Model.Dtype, device);
        return new EvaluationResults(name, loaded.Adapted?.TrainableParameterCount ?? 0, Of(loaded.Model, _ => null));
    }

    /// <summary>The mean over the tasks, more is better: what is better when smaller (error rates) counts as 1 less it, never below 0.</summary>
    public static double Mean(EvaluationResults results)
    {
        ArgumentNullException.ThrowIfNull(results);
        return results.Tasks.Average(task => task.HigherIsBetter ? task.Value : Math.Max(0, 1 - task.Value));
    }

    /// <summary>The best that any of several models does on each task.</summary>
    public static EvaluationResults BestOf(string name, IReadOnlyList<EvaluationResults> models)
    {
        ArgumentNullException.ThrowIfNull(models);
        return new EvaluationResults(name, models.Sum(model => model.TrainableParameters), [.. models[0].Tasks.Select((task, i) => task with
        {
            Value = task.HigherIsBetter ? models.Max(model => model.Tasks[i].Value) : models.Min(model => model.Tasks[i].Value),
        })]);
    }

    private static TaskResult Judge(TaskData task, IReadOnlyList<RowResult> results)
    {
        var metric = Metric.Named(task.Task.Metrics[0]);
        var rows = results.Select(result => metric.OfRow(new JudgedRow(task.Task, task.Rows[result.Index], result))).ToList();
        return new(task.Task.Name, metric.Name, metric.HigherIsBetter, metric.Combine(rows, [.. Enumerable.Range(0, rows.Count)]), rows.Count);
    }
}
