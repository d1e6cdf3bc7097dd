using Peft.Data;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Tasks;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Evaluation;

/// <summary>One task: rows of a held-out data set, answered by greedy decoding.</summary>
public sealed record TaskOptions
{
    /// <summary>Name of the task, as a data set under <c>data.eval</c> has it.</summary>
    [Key(Name = "task", Required = true)]
    public string Name { get; init; } = "";

    /// <summary>Name of the metric (<see cref="Metrics.Metric.All"/>).</summary>
    [Key]
    public string Metric { get; init; } = Metrics.Metric.DefaultOf(TaskKind.Generation);

    /// <summary>Rows evaluated, from the start of the data set.</summary>
    [Key(Min = 1)]
    public int Rows { get; init; } = 200;

    /// <summary>Longest answer in tokens.</summary>
    [Key(Min = 1, Max = EvaluationTask.MostNewTokens)]
    public int MaxNewTokens { get; init; } = 32;
}

/// <summary>Results recorded earlier that are shown beside a run's own.</summary>
public sealed record BaselineOptions
{
    /// <summary>Heading of the column.</summary>
    [Key(Required = true)]
    public string Name { get; init; } = "";

    /// <summary>Path of the recorded results, as the recipe names it.</summary>
    [Key(Required = true)]
    public string Results { get; init; } = "";
}

/// <summary>The <c>evaluation:</c> section of a recipe: what is measured after training.</summary>
public sealed record EvaluationOptions
{
    /// <summary>The tasks, in the order of the table.</summary>
    [Key]
    public IReadOnlyList<TaskOptions> Tasks { get; init; } = [];

    /// <summary>Whether the base model is measured too.</summary>
    [Key]
    public bool Base { get; init; } = true;

    /// <summary>Whether prompts are put to the model as a user's message, through the chat template.</summary>
    [Key]
    public bool ApplyChatTemplate { get; init; }

    /// <summary>Recorded results that are shown beside the run's.</summary>
    [Key]
    public IReadOnlyList<BaselineOptions> Baselines { get; init; } = [];

    /// <summary>Reads and checks the section.</summary>
    /// <param name="reader">The section.</param>
    /// <param name="evalTasks">Tasks of the data sets under <c>data.eval</c>; null where only the data tells
    /// them.</param>
    public static EvaluationOptions Read(OptionReader reader, IReadOnlyList<string>? evalTasks)
    {
        var options = reader.Bind(new EvaluationOptions());
        foreach (var (section, task) in reader.Sections("tasks").Zip(options.Tasks))
        {
            if (task.Name.Length > 0 && evalTasks is not null && !evalTasks.Contains(task.Name))
                section.Fault(
                    "task", Quote.Of(task.Name),
                    "the task of a data set under data.eval"
                        + (evalTasks.Count == 0 ? "" : $": {Words.OneOf(evalTasks)}"),
                    evalTasks.Count == 0 ? "add the data set: data.eval is empty"
                        : NearestName.Question(task.Name, evalTasks));
            if (options.Tasks.TakeWhile(other => !ReferenceEquals(other, task)).Any(other => other.Name == task.Name))
                section.Fault(
                    "task", $"{Quote.Of(task.Name)} a second time", "each task once, with one metric",
                    "peft eval measures further metrics by a task file");
            Metric.Check(section, "metric", task.Metric, TaskKind.Generation);
        }
        return options;
    }

    /// <summary>The tasks as they are measured: generated answers on the rows of <c>data.eval</c>.</summary>
    /// <param name="data">The recipe's <c>data:</c> section.</param>
    /// <param name="path">The recipe, for messages.</param>
    public IReadOnlyList<EvaluationTask> TasksOn(DataOptions data, string path) =>
        [.. Tasks.Select(task => new EvaluationTask
    {
        Name = task.Name,
        Kind = TaskKind.Generation,
        // With a task column only the rows tell which tasks a set has.
        Sources = [.. data.Eval.Where(set =>
            !set.IsText && (set.TaskColumn is not null || (set.Task ?? set.Name) == task.Name))],
        Metrics = [task.Metric],
        Rows = task.Rows,
        MaxNewTokens = task.MaxNewTokens,
        MaxLength = data.MaxLength,
        ApplyChatTemplate = ApplyChatTemplate,
        Place = path,
    })];
}
