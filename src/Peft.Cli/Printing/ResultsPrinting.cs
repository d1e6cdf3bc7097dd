using System.Globalization;
using System.Text.Json;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Tasks;
using Peft.Formats;
using Peft.Recipes;

namespace Peft.Cli.Printing;

/// <summary>Scores as tables, for people, and as JSON, for programs.</summary>
public static class ResultsPrinting
{
    private static readonly JsonSerializerOptions SnakeCase =
        new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>The main metrics of several models, a row a task, a column a model.</summary>
    public static string ByTask(ResultsDocument results, int? width = null)
    {
        var table = new TextTable(["task", "metric", "rows", .. results.Subjects.Select(subject => subject.Name)]);
        foreach (var task in results.Tasks)
        {
            var cells = results.Subjects.Select(subject =>
                results.ScoreOf(subject.Name, task.Name, task.Main.Name) is { } score ? Number(score.Value) : "-");
            table.Add([task.Name, Metric(task, task.Main), $"{task.Rows}", .. cells]);
        }
        var parameters = results.Subjects.Select(subject =>
            string.Create(CultureInfo.InvariantCulture, $"{subject.TrainableParameters:N0}"));
        table.Add(["", "trainable parameters", "", .. parameters]);
        return table.Fitted(width);
    }

    /// <summary>The main metrics of many models, a row a model, with the mean over the tasks.</summary>
    public static string ByModel(ResultsDocument results, int? width = null)
    {
        var tasks = results.Tasks.Select(task =>
            $"{task.Name} {task.Main.Name}{(task.Main.HigherIsBetter ? "" : " (lower is better)")}");
        var table = new TextTable(["model", .. tasks, "mean"]);
        foreach (var name in results.Subjects.Select(subject => subject.Name))
        {
            var scores = results.Tasks.Select(task => Number(results.ScoreOf(name, task.Name, task.Main.Name)!.Value));
            table.Add([name, .. scores, Number(TaskMeasurement.Mean(results, name))]);
        }
        return table.Fitted(width)
            + "\nmean: over the tasks, higher is better; an error rate counts as 1 minus the rate";
    }

    /// <summary>The main metrics of several models as one JSON object on one line.</summary>
    public static string Json(ResultsDocument results)
    {
        var models = results.Subjects.Select(subject => new
        {
            subject.Name,
            subject.TrainableParameters,
            Tasks =
                from task in results.Tasks
                let score = results.ScoreOf(subject.Name, task.Name, task.Main.Name)
                where score is not null
                select new
                {
                    Task = task.Name,
                    task.Kind,
                    Metric = task.Main.Name,
                    task.Main.HigherIsBetter,
                    score.Value,
                    score.Rows,
                },
        });
        return JsonSerializer.Serialize(new { models }, SnakeCase);
    }

    /// <summary>The same of one model that no task measures.</summary>
    public static string Json(string name, long trainableParameters) => JsonSerializer.Serialize(
        new { models = new[] { new { name, trainableParameters, tasks = Array.Empty<object>() } } }, SnakeCase);

    /// <summary>
    /// An evaluation: a row a task and metric, a column a subject, with intervals; then what they mean.
    /// </summary>
    public static string WithIntervals(ResultsDocument results, int? width = null)
    {
        var table = new TextTable(["task", "metric", "rows", .. results.Subjects.Select(subject => subject.Name)]);
        foreach (var task in results.Tasks)
        {
            foreach (var metric in task.Metrics)
            {
                var cells = results.Subjects.Select(subject => Cell(results, subject.Name, task.Name, metric.Name));
                table.Add([task.Name, Metric(task, metric), $"{task.Rows}", .. cells]);
            }
        }
        var legend = results.Subjects.Count > 1
            ? "[95% interval]; * significantly different from the first column (p < 0.05, corrected)"
            : "[95% interval]";
        var notes = results.Tasks.Where(task => task.Truncated > 0 || task.Ties > 0).Select(Note).Append(legend);
        return table.Fitted(width) + "\n" + string.Join('\n', notes)
            + string.Concat(results.Sequences.Select(sequence => "\n\n" + Forgotten(results, sequence, width)));
    }

    // A row a stage, a column a task; below them what was lost of each.
    private static string Forgotten(ResultsDocument results, MeasuredSequence sequence, int? width)
    {
        var forgetting = new Forgetting(results, sequence);
        var places = Enumerable.Range(0, forgetting.Count).ToList();
        var table = new TextTable(["after", .. sequence.Tasks]);
        foreach (var stage in places)
            table.Add([sequence.Stages[stage], .. places.Select(task => Cell(forgetting.Score(stage, task)))]);
        table.Add(["forgotten", .. places.Select(task => Cell(forgetting.Forgotten(task)))]);
        return table.Fitted(width) + $"\nmean forgetting {Cell(forgetting.Mean)} (the best before the last stage less "
            + $"the last), backward transfer {Cell(forgetting.BackwardTransfer)} (the last less when it was learned)";

        static string Cell(double? value) => value is { } known ? Number(known) : "-";
    }

    private static string Cell(ResultsDocument results, string subject, string task, string metric)
    {
        if (results.ScoreOf(subject, task, metric) is not { } score)
            return "-";
        var differs = subject != results.Subjects[0].Name
            && results.ComparisonOf(task, metric, results.Subjects[0].Name, subject) is { Significant: true };
        var interval = score is { Low: { } low, High: { } high } ? $" [{Number(low)}, {Number(high)}]" : "";
        return $"{Number(score.Value)}{interval}{(differs ? "*" : "")}";
    }

    // A choice is easier than an answer written out: where a metric has one name for both, which it was is said.
    private static string Metric(MeasuredTask task, TaskMetric metric)
    {
        var isOfBoth = Peft.Evaluation.Metrics.Metric.All.Any(known => known.Name == metric.Name
            && known.Kinds.Contains(TaskKind.Generation) && known.Kinds.Count > 1);
        var how = !isOfBoth ? "" : task.Kind == TaskKinds.NameOf(TaskKind.Generation) ? "generated, " : "choices, ";
        return $"{metric.Name} ({how}{(metric.HigherIsBetter ? "higher" : "lower")} is better)";
    }

    private static string Number(double value) => value.ToString("F3", CultureInfo.InvariantCulture);

    private static string Note(MeasuredTask task) =>
        $"{task.Name}: {task.Truncated} of {Words.Count(task.Rows, "prompt")} cut from the left, "
        + $"{Words.Count(task.Ties, "tie")} (the first choice counts)";
}
