using System.Globalization;
using Peft.Evaluation;
using Peft.Evaluation.Metrics;

namespace Peft.Cli.Printing;

/// <summary>Results of several models, a row a task.</summary>
public static class ResultsTable
{
    /// <summary>The table; an arrow says which way is better.</summary>
    public static string Of(IReadOnlyList<(string Name, EvaluationResults Results)> columns)
    {
        var table = new TextTable(["task", "metric", "rows", .. columns.Select(c => c.Name)]);
        foreach (var task in columns[^1].Results.Tasks)
        {
            var cells = columns.Select(c => c.Results.Tasks.FirstOrDefault(t => t.Task == task.Task && t.Metric == task.Metric) is { } found
                ? found.Value.ToString("F3", CultureInfo.InvariantCulture)
                : "-");
            table.Add([task.Task, $"{task.Metric} ({(task.HigherIsBetter ? "higher" : "lower")} is better)", $"{task.Rows}", .. cells]);
        }
        table.Add(["trained values", "", "", .. columns.Select(c => $"{c.Results.TrainableParameters:N0}")]);
        return table.ToString();
    }
}
