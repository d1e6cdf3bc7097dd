using System.Globalization;
using System.Text.Json;
using Peft.Evaluation;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Recipes;

namespace Peft.Cli.Printing;

/// <summary>Scores as tables, for people, and as JSON, for programs.</summary>
public static class ResultsPrinting
{
    private static readonly JsonSerializerOptions SnakeCase =
        new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>Results of several models, a row a task, a column a model.</summary>
    public static string ByTask(IReadOnlyList<(string Name, EvaluationResults Results)> columns)
    {
        var table = new TextTable(["task", "metric", "rows", .. columns.Select(c => c.Name)]);
        foreach (var task in columns[^1].Results.Tasks)
        {
            var cells = columns.Select(c =>
                c.Results.Tasks.FirstOrDefault(t => t.Task == task.Task && t.Metric == task.Metric) is { } found
                    ? Number(found.Value)
                    : "-");
            table.Add([task.Task, Metric(task.Metric, task.HigherIsBetter), $"{task.Rows}", .. cells]);
        }
        table.Add(["", "trainable parameters", "", .. columns.Select(c => $"{c.Results.TrainableParameters:N0}")]);
        return table.ToString();
    }

    /// <summary>Results of many models, a row a model, with the mean over the tasks.</summary>
    public static string ByModel(IReadOnlyList<EvaluationResults> rows)
    {
        var tasks = rows[0].Tasks.Select(task =>
            $"{task.Task} {task.Metric}{(task.HigherIsBetter ? "" : " (lower is better)")}");
        var table = new TextTable(["model", .. tasks, "mean"]);
        foreach (var row in rows)
            table.Add([row.Model, .. row.Tasks.Select(task => Number(task.Value)), Number(TaskMeasurement.Mean(row))]);
        return table + "\nmean: over the tasks, higher is better; an error rate counts as 1 minus the rate";
    }

    /// <summary>Results of several models as one JSON object on one line.</summary>
    public static string Json(IReadOnlyList<(string Name, EvaluationResults Results)> columns)
    {
        var models = columns.Select(c => new { c.Name, c.Results.TrainableParameters, c.Results.Tasks });
        return JsonSerializer.Serialize(new { models }, SnakeCase);
    }

    /// <summary>
    /// An evaluation: a row a task and metric, a column a subject, with intervals; then what they mean.
    /// </summary>
    public static string WithIntervals(ResultsDocument results)
    {
        var table = new TextTable(["task", "metric", "rows", .. results.Subjects.Select(subject => subject.Name)]);
        foreach (var task in results.Tasks)
        {
            foreach (var metric in task.Metrics)
            {
                var cells = results.Subjects.Select(subject => Cell(results, subject.Name, task.Name, metric.Name));
                table.Add([task.Name, Metric(metric.Name, metric.HigherIsBetter), $"{task.Rows}", .. cells]);
            }
        }
        var legend = results.Subjects.Count > 1
            ? "[95% interval]; * significantly different from the first column (p < 0.05, corrected)"
            : "[95% interval]";
        var notes = results.Tasks.Where(task => task.Truncated > 0 || task.Ties > 0).Select(Note).Append(legend);
        return table + "\n" + string.Join('\n', notes);
    }

    private static string Cell(ResultsDocument results, string subject, string task, string metric)
    {
        if (results.ScoreOf(subject, task, metric) is not { } score)
            return "-";
        var differs = subject != results.Subjects[0].Name
            && results.ComparisonOf(task, metric, results.Subjects[0].Name, subject) is { Significant: true };
        return $"{Number(score.Value)} [{Number(score.Low)}, {Number(score.High)}]{(differs ? "*" : "")}";
    }

    private static string Metric(string name, bool higherIsBetter) =>
        $"{name} ({(higherIsBetter ? "higher" : "lower")} is better)";

    private static string Number(double value) => value.ToString("F3", CultureInfo.InvariantCulture);

    private static string Note(MeasuredTask task) =>
        $"{task.Name}: {task.Truncated} of {Words.Count(task.Rows, "prompt")} cut from the left, "
        + $"{Words.Count(task.Ties, "tie")} (the first choice counts)";
}
