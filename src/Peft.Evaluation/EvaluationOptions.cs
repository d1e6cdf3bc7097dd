using Peft.Data;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Tasks;
using Peft.Formats.Configuration;

namespace Peft.Evaluation;

/// <summary>One task: rows of a held-out data set, answered by greedy decoding.</summary>
/// <param name="Name">Name of the task, as a data set under <c>data.eval</c> has it.</param>
/// <param name="Metric">Name of the metric (<see cref="Metrics.Metric.All"/>).</param>
/// <param name="Rows">Rows evaluated, from the start of the data set.</param>
/// <param name="MaxNewTokens">Longest answer in tokens.</param>
public sealed record TaskOptions(string Name, string Metric, int Rows, int MaxNewTokens);

/// <summary>Results recorded earlier that stand beside a run's own in its table.</summary>
/// <param name="Name">Heading of the column.</param>
/// <param name="Results">Path of the recorded results, as the recipe names it.</param>
public sealed record BaselineOptions(string Name, string Results);

/// <summary>The <c>evaluation:</c> section of a recipe: what is measured after training.</summary>
public sealed record EvaluationOptions
{
    /// <summary>The tasks, in the order of the table.</summary>
    public IReadOnlyList<TaskOptions> Tasks { get; init; } = [];

    /// <summary>Whether the bare base is measured too.</summary>
    /// <value>Default true.</value>
    public bool Base { get; init; } = true;

    /// <summary>Recorded results to stand beside the run's.</summary>
    public IReadOnlyList<BaselineOptions> Baselines { get; init; } = [];

    /// <summary>Reads and checks the section.</summary>
    /// <param name="reader">The section.</param>
    /// <param name="evalTasks">Tasks of the data sets under <c>data.eval</c>; null where only the data tells them.</param>
    public static EvaluationOptions Read(OptionReader reader, IReadOnlyList<string>? evalTasks)
    {
        var tasks = new List<TaskOptions>();
        foreach (var task in reader.Sections("tasks"))
        {
            var name = task.RequiredText("task");
            if (name.Length > 0 && evalTasks is not null && !evalTasks.Contains(name))
                task.Fault("task", $"'{name}'", evalTasks.Count == 0
                    ? "the task of a data set under data.eval, which is empty"
                    : "the task of a data set under data.eval: " + string.Join(", ", evalTasks));
            tasks.Add(new(
                name,
                task.Choice("metric", "exact_match", Metric.Of(TaskKind.Generation)),
                task.Integer("rows", 200, 1),
                task.Integer("max_new_tokens", 32, 1, 4096)));
        }
        return new()
        {
            Tasks = tasks,
            Base = reader.Boolean("base", true),
            Baselines = [.. reader.Sections("baselines")
                .Select(b => new BaselineOptions(b.RequiredText("name"), b.RequiredText("results")))],
        };
    }
}

/// <summary>The tasks of a recipe's <c>evaluation.tasks</c>: generated answers on the rows of <c>data.eval</c>.</summary>
public static class RecipeTasks
{
    /// <summary>Makes tasks of a recipe's sections.</summary>
    /// <param name="options">The <c>evaluation:</c> section.</param>
    /// <param name="data">The <c>data:</c> section.</param>
    /// <param name="path">The recipe, for messages.</param>
    public static IReadOnlyList<EvaluationTask> Of(EvaluationOptions options, DataOptions data, string path)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(data);
        return [.. options.Tasks.Select(task => new EvaluationTask
        {
            Name = task.Name,
            Kind = TaskKind.Generation,
            // With a task column only the rows tell which tasks a set has.
            Sources = [.. data.Eval.Where(set => set.Prompt is not null && (set.TaskColumn is not null || (set.Task ?? set.Name) == task.Name))],
            Metrics = [task.Metric],
            Rows = task.Rows,
            MaxNewTokens = task.MaxNewTokens,
            MaxLength = data.MaxLength,
            Place = path,
        })];
    }
}
