using Peft.Data;

namespace Peft.Evaluation.Tasks;

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
