using System.Globalization;
using Peft.Evaluation.Results;

namespace Peft.Cli.Printing;

/// <summary>Results of several models, a row a task.</summary>
public static class ResultsTable
{
    /// <summary>The table of the main metrics; words say which way is better.</summary>
    public static string Of(ResultsDocument results)
    {
        var table = new TextTable(["task", "metric", "rows", .. results.Subjects.Select(subject => subject.Name)]);
        foreach (var task in results.Tasks)
        {
            var cells = results.Subjects.Select(subject => results.ScoreOf(subject.Name, task.Name, task.Main.Name) is { } score
                ? score.Value.ToString("F3", CultureInfo.InvariantCulture)
                : "-");
            table.Add([task.Name, $"{task.Main.Name} ({(task.Main.HigherIsBetter ? "higher" : "lower")} is better)", $"{task.Rows}", .. cells]);
        }
        table.Add([
            "trainable parameters", "", "",
            .. results.Subjects.Select(subject => string.Create(CultureInfo.InvariantCulture, $"{subject.TrainableParameters:N0}")),
        ]);
        return table.ToString();
    }
}
