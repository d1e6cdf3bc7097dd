using System.Globalization;
using Peft.Evaluation.Results;
using Peft.Recipes;

namespace Peft.Cli.Printing;

/// <summary>Results of many models, a row a model.</summary>
public static class ComparisonTable
{
    /// <summary>The table of the main metrics, with the mean over the tasks.</summary>
    public static string Of(ResultsDocument results)
    {
        var table = new TextTable(
        [
            "model", .. results.Tasks.Select(task => $"{task.Name} {task.Main.Name}{(task.Main.HigherIsBetter ? "" : " (lower is better)")}"), "mean",
        ]);
        foreach (var subject in results.Subjects)
        {
            table.Add([
                subject.Name, .. results.Tasks.Select(task => Number(results.ScoreOf(subject.Name, task.Name, task.Main.Name)!.Value)),
                Number(TaskMeasurement.Mean(results, subject.Name)),
            ]);
        }
        return table + "\nmean: over the tasks, higher is better; an error rate counts as 1 minus the rate";
    }

    private static string Number(double value) => value.ToString("F3", CultureInfo.InvariantCulture);
}
