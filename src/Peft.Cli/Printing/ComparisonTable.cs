using System.Globalization;
using Peft.Evaluation;
using Peft.Recipes;

namespace Peft.Cli.Printing;

/// <summary>Results of many models, a row a model.</summary>
public static class ComparisonTable
{
    /// <summary>The table, with the mean over the tasks.</summary>
    public static string Of(IReadOnlyList<EvaluationResults> rows)
    {
        ArgumentNullException.ThrowIfNull(rows);
        var table = new TextTable(
            ["model", .. rows[0].Tasks.Select(task => $"{task.Task} {task.Metric}{(task.HigherIsBetter ? "" : " (lower is better)")}"), "mean"]);
        foreach (var row in rows)
            table.Add([row.Model, .. row.Tasks.Select(task => Number(task.Value)), Number(TaskMeasurement.Mean(row))]);
        return table + "\nmean: over the tasks, more is better; an error rate counts as 1 less it";
    }

    private static string Number(double value) => value.ToString("F3", CultureInfo.InvariantCulture);
}
