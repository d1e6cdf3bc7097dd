using Peft.Distributed;
using Peft.Evaluation;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Tasks;
using Peft.Formats;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Training;

namespace Peft.Recipes;

/// <summary>Measures models on a recipe's tasks, the rows read once.</summary>
public sealed class TaskMeasurement
{
    private readonly Recipe _recipe;
    private readonly HuggingFaceTokenizer _tokenizer;
    private readonly IReadOnlyList<TaskData> _tasks;
    private readonly ICommunicator _ranks;

    /// <summary>Reads the rows.</summary>
    /// <param name="recipe">The recipe.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="ranks">Who shares the rows; null: this process answers all.</param>
    /// <exception cref="UserException">The recipe's files cannot be used.</exception>
    public TaskMeasurement(Recipe recipe, HuggingFaceTokenizer tokenizer, ICommunicator? ranks = null)
    {
        _ranks = ranks ?? Alone.Instance;
        _recipe = recipe;
        _tokenizer = tokenizer;
        _tasks = TaskData.Open(
            recipe.Evaluation.TasksOn(recipe.Data, recipe.Path), null, recipe.Training.Seed, (_, file) =>
                recipe.Paths.Resolve(file), RunBuilder.TemplateOf(recipe, tokenizer));
    }

    private static string Version => typeof(TaskMeasurement).Assembly.GetName().Version?.ToString(3) ?? "unknown";

    private string BaseDirectory => _recipe.Paths.Resolve(_recipe.Model.Directory);

    /// <summary>How many rows a model answers.</summary>
    public int Rows => _tasks.Sum(data => data.Rows.Count);

    /// <summary>Hashes of their rows, as text.</summary>
    public string RowsHash => string.Join('\n', _tasks.Select(data => data.RowsHash));

    /// <summary>The tasks' names.</summary>
    public IReadOnlyList<string> Names => [.. _tasks.Select(data => data.Task.Name)];

    /// <summary>The base model as a subject of results.</summary>
    public Subject Base => SubjectLoader.Base(BaseDirectory);

    /// <summary>A model's answers to every task, and what its experts did.</summary>
    /// <param name="description">What results say of the model; the seconds are filled in.</param>
    /// <param name="opened">The model; the caller frees it.</param>
    /// <param name="taskIdOf">The id of a task by name, for routers that go by it.</param>
    /// <param name="stop">Ends it between two batches; null: nothing does.</param>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public MeasuredSubject Of(
        Subject description, OpenedSubject opened, Func<string, long?> taskIdOf, StopRequest? stop = null) =>
        new SubjectEvaluation(_tasks, _tokenizer, _recipe.Training.PerDeviceEvalBatchSize)
        {
            IsStopped = () => stop?.IsRequested == true, Ranks = _ranks,
        }.Measure(description, opened, taskIdOf);

    /// <summary>The answers of the recipe's base with an adapter on it, or of the base model.</summary>
    /// <param name="name">What the results call it.</param>
    /// <param name="adapter">The adapter; null: none.</param>
    /// <param name="device">Where to compute.</param>
    public MeasuredSubject Of(string name, string? adapter, Device device)
    {
        using var loaded = LoadedModel.Open(BaseDirectory, adapter, _recipe.Model.Dtype, device);
        var described = adapter is null ? Base : SubjectLoader.Adapter(adapter, name);
        return Of(
            described with { TrainableParameters = loaded.Adapted?.TrainableParameterCount ?? 0 },
            new(loaded.Model, loaded.Adapted), task => loaded.Tasks?.IdOf(task));
    }

    /// <summary>The numbers of what was measured.</summary>
    /// <param name="subjects">The answers.</param>
    /// <param name="device">Where they were computed.</param>
    /// <param name="compares">Whether every pair is compared.</param>
    public ResultsDocument Results(IReadOnlyList<MeasuredSubject> subjects, Device device, bool compares)
    {
        var settings = new ResultsSettings(
            (int)_recipe.Training.Seed, _recipe.Training.PerDeviceEvalBatchSize,
            LoadedModel.TypeName(BaseDirectory, _recipe.Model.Dtype, device),
            EvaluationBuilder.BootstrapSamples, EvaluationBuilder.Confidence, ResultsBuilder.Correction);
        var identity = new MeasuredBase(EvaluationBuilder.NameOf(BaseDirectory),
            ModelLoader.Fingerprint(BaseDirectory));
        return ResultsBuilder.Build(subjects, _tasks, identity, settings, Version, DateTimeOffset.UtcNow, compares);
    }

    /// <summary>
    /// The mean of a subject's main metrics, higher is better: what is better when smaller (error rates) counts as 1
    /// minus it, never below 0.
    /// </summary>
    public static double Mean(ResultsDocument results, string subject) => results.Tasks.Average(task =>
        results.ScoreOf(subject, task.Name, task.Main.Name)!.Value is var value && task.Main.HigherIsBetter ? value
            : Math.Max(0, 1 - value));

    /// <summary>
    /// Results with the best that any of several subjects does on each task as a subject of its own, behind the last of
    /// them.
    /// </summary>
    public static ResultsDocument WithBestOf(ResultsDocument results, string name, IReadOnlyList<string> subjects)
    {
        var of = results.Subjects.Where(subject => subjects.Contains(subject.Name)).ToList();
        var best = of[0] with
        {
            Name = name,
            Kind = Subject.RecordedKind,
            Path = "",
            TrainableParameters = of.Sum(subject => subject.TrainableParameters)
        };
        var scores = results.Tasks.Select(task =>
        {
            var own = subjects.Select(subject => results.ScoreOf(subject, task.Name, task.Main.Name)!);
            return (task.Main.HigherIsBetter ? own.MaxBy(score => score.Value)
                : own.MinBy(score => score.Value))! with
            { Subject = name };
        });
        var behind = results.Subjects.ToList().FindLastIndex(subject => subjects.Contains(subject.Name)) + 1;
        return results with
        {
            Subjects = [.. results.Subjects.Take(behind), best, .. results.Subjects.Skip(behind)],
            Scores = [.. results.Scores, .. scores],
        };
    }
}
