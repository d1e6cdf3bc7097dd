using Peft.Data;
using Peft.Evaluation;
using Peft.Formats;
using Peft.Formats.Tokenizers;
using Peft.Torch;

namespace Peft.Recipes;

/// <summary>Measures adapters on a recipe's tasks, its base and held-out rows opened once.</summary>
public sealed class TaskMeasurement : IDisposable
{
    private readonly Recipe _recipe;
    private readonly Device _device;
    private readonly Tokenizer _tokenizer;
    private readonly TrainingData _data;

    /// <summary>Opens the rows.</summary>
    /// <exception cref="UserException">The recipe measures nothing, or its files cannot be used.</exception>
    public TaskMeasurement(Recipe recipe, Device device)
    {
        ArgumentNullException.ThrowIfNull(recipe);
        if (recipe.Evaluation.Tasks.Count == 0)
            throw new UserException($"{recipe.Path}: evaluation.tasks is empty - tasks of the data sets under data.eval - or leave --recipe out");
        _recipe = recipe;
        _device = device;
        _tokenizer = RunBuilder.LoadTokenizer(recipe);
        _data = RunBuilder.OpenData(recipe with { Data = recipe.Data with { Train = [] } }, _tokenizer);
    }

    /// <summary>Answers the rows with the recipe's base and an adapter on it.</summary>
    /// <param name="name">What the results are called.</param>
    /// <param name="adapter">The adapter; null: the bare base.</param>
    public EvaluationResults Of(string name, string? adapter)
    {
        using var loaded = LoadedModel.Open(_recipe.Paths.Resolve(_recipe.Model.ModelNameOrPath), adapter, _recipe.Model.Dtype, _device);
        return new EvaluationResults(
            name, loaded.Adapted?.TrainableParameterCount ?? 0,
            AnswerEvaluator.Run(loaded.Model, _tokenizer, _data.Eval, _data.TaskNames, _recipe.Evaluation, _recipe.Training.PerDeviceEvalBatchSize));
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

    /// <summary>Frees the rows.</summary>
    public void Dispose() => _data.Dispose();
}
