using System.Globalization;
using Peft.Evaluation.Results;

namespace Peft.Cli.Printing;

/// <summary>The scores of an evaluation, a row a task and metric, a column a subject.</summary>
public static class ScoresTable
{
    /// <summary>The table, then what differs significantly from the first subject.</summary>
    public static string Of(ResultsDocument results)
    {
        ArgumentNullException.ThrowIfNull(results);
        var table = new TextTable(["task", "metric", "rows", .. results.Subjects.Select(subject => subject.Name)]);
        foreach (var task in results.Tasks)
        {
            foreach (var metric in task.Metrics)
            {
                table.Add([
                    task.Name, $"{metric.Name} ({(metric.HigherIsBetter ? "higher" : "lower")} is better)", $"{task.Rows}",
                    .. results.Subjects.Select(subject => Cell(results, subject.Name, task.Name, metric.Name)),
                ]);
            }
        }
        var notes = results.Tasks.Where(task => task.Truncated > 0 || task.Ties > 0).Select(Note)
            .Append(results.Subjects.Count > 1 ? "[95% interval]; * differs from the first column (p < 0.05, corrected)" : "[95% interval]");
        return table + "\n" + string.Join('\n', notes);
    }

    private static string Cell(ResultsDocument results, string subject, string task, string metric)
    {
        if (results.ScoreOf(subject, task, metric) is not { } score)
            return "-";
        var differs = subject != results.Subjects[0].Name
            && results.ComparisonOf(task, metric, results.Subjects[0].Name, subject) is { Significant: true };
        var interval = score.Low is null ? "" : string.Create(CultureInfo.InvariantCulture, $" [{score.Low:F3}, {score.High:F3}]");
        return string.Create(CultureInfo.InvariantCulture, $"{score.Value:F3}{interval}{(differs ? "*" : "")}");
    }

    private static string Note(MeasuredTask task) =>
        $"{task.Name}: {task.Truncated} of {task.Rows} prompts cut from the left, {task.Ties} ties (the first choice counts)";
}
