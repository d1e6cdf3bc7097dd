using System.Globalization;
using System.Text.Json.Nodes;
using Peft.Evaluation.Results;

namespace Peft.Compare;

/// <summary>What one run came to on one task.</summary>
/// <param name="Metric">The metric.</param>
/// <param name="HigherIsBetter">Its direction.</param>
/// <param name="RowsHash">SHA-256 over prompts and answers.</param>
/// <param name="Points">One digit a row to base 36: 1 or 0 for right or wrong, or the row's errors.</param>
/// <param name="Per">What a point is divided by: 1, or the mean number of words of an expected answer.</param>
internal sealed record TaskPoints(string Metric, bool HigherIsBetter, string RowsHash, string Points, double Per)
{
    private const string Digits = "0123456789abcdefghijklmnopqrstuvwxyz";

    /// <summary>The rows' shares of the metric: their mean is the metric.</summary>
    public double[] Values() => [.. Points.Select(digit => Digits.IndexOf(digit) / Per)];

    /// <summary>Without the first rows; all of them where there are no others.</summary>
    public TaskPoints Behind(int rows) => Points.Length > rows ? this with { Points = Points[rows..] } : this;

    /// <summary>The rows of results that lie in a directory: by subject, then by task.</summary>
    /// <exception cref="InvalidOperationException">Rows and results do not belong together.</exception>
    public static Dictionary<string, SortedDictionary<string, TaskPoints>> Read(string directory)
    {
        var results = ResultsFile.Load(directory);
        var rows = new Dictionary<(string Subject, string Task), List<(long Row, double Score, int Words)>>();
        ExampleTable.Read(Path.Combine(directory, ExamplesFile.Name),
            [ExamplesFile.Subject, ExamplesFile.Task, ExamplesFile.Row, ExamplesFile.Score, ExamplesFile.Answer],
            group =>
            {
                for (var i = 0; i < group.Count; i++)
                {
                    var key = (group.Text(ExamplesFile.Subject, i), group.Text(ExamplesFile.Task, i));
                    if (!rows.TryGetValue(key, out var own))
                        rows.Add(key, own = []);
                    own.Add((group.Whole(ExamplesFile.Row, i), group.Number(ExamplesFile.Score, i)!.Value,
                        group.Text(ExamplesFile.Answer, i).Split(' ', StringSplitOptions.RemoveEmptyEntries).Length));
                }
            });
        return results.Subjects.ToDictionary(subject => subject.Name, subject =>
            new SortedDictionary<string, TaskPoints>(results.Tasks.ToDictionary(task => task.Name, task => Of(
                task, rows[(subject.Name, task.Name)],
                results.Scores.Single(score => score.Subject == subject.Name && score.Task == task.Name
                    && score.Metric == task.Main.Name).Value)), StringComparer.Ordinal));
    }

    private static TaskPoints Of(MeasuredTask task, List<(long Row, double Score, int Words)> rows, double told)
    {
        var isRate = task.Main.Name == "token_error_rate"; // a row's score is its errors by its expected words
        var points = rows.OrderBy(row => row.Row).Select(row => Digits[Math.Min(
            Digits.Length - 1, (int)Math.Round(isRate ? row.Score * row.Words : row.Score))]);
        var own = new TaskPoints(task.Main.Name, task.Main.HigherIsBetter, task.RowsHash, string.Concat(points),
            isRate ? rows.Average(row => row.Words) : 1);
        var value = own.Values().Average();
        // Only answers of very many errors exceed the digits.
        return Math.Abs(value - told) < 1e-6 || own.Points.Contains(Digits[^1], StringComparison.Ordinal) ? own
            : throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture,
                $"{task.Name}: the rows give {value}, the results say {told}"));
    }
}

/// <summary>What one run came to.</summary>
/// <param name="Setting">Name of the setting.</param>
/// <param name="Arm">Name of the arm.</param>
/// <param name="Seed">Its seed.</param>
/// <param name="Rate">Its learning rate.</param>
/// <param name="Trained">How many values were trained.</param>
/// <param name="TokenSeconds">Seconds of a training step for each of its tokens, of the first stage: the fast decile,
/// since
/// several runs share the machine.</param>
/// <param name="PeakMegabytes">Largest resident size of the process.</param>
/// <param name="Support">Mean effective number of experts over modules, at each step that reported it.</param>
/// <param name="ValidationLoss">Mean over the tasks of the loss of validation rows; null in runs on test rows.</param>
/// <param name="Tasks">Test rows; none in runs on validation rows.</param>
internal sealed record Measured(
    string Setting, string Arm, int Seed, double Rate, long Trained, double TokenSeconds, double PeakMegabytes,
    IReadOnlyList<double> Support, double? ValidationLoss, SortedDictionary<string, TaskPoints> Tasks)
{
    private const int WarmUp = 20; // steps

    /// <summary>What the directories of finished trainings tell.</summary>
    public static Measured Read(TrainRun run, double megabytes, string first, string last)
    {
        var speeds = Lines(first).Where(line => line.ContainsKey("loss")).Skip(WarmUp)
            .Select(line => (double)line["tokens_per_second"]!).OrderDescending().ToList();
        List<double> support = [.. Lines(last).Select(line => line["routing"]?.AsObject())
            .Where(modules => modules is { Count: > 0 })
            .Select(modules => Math.Round(modules!.Average(module => (double)module.Value!["effective_support"]!), 3))];
        return new(run.Setting.Name, run.Arm.Name, run.Seed, run.Rate, run.Rank.Trainable,
            Rounded(1 / speeds[speeds.Count / 10]), Math.Round(megabytes), support,
            run.IsChoice ? Rounded(LossOf(last)) : null,
            run.IsChoice ? [] : TaskPoints.Read(last).Values.Single());
    }

    // Each task counts alike, as in the mean of the metrics.
    private static double LossOf(string directory) =>
        Lines(directory).Last(line => line.ContainsKey("eval_loss"))
            .Where(pair => pair.Key is not "eval_loss" && pair.Key.StartsWith("eval_", StringComparison.Ordinal)
                && pair.Key.EndsWith("_loss", StringComparison.Ordinal))
            .Average(pair => (double)pair.Value!);

    private static double Rounded(double value) =>
        double.Parse(value.ToString("G6", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);

    private static IEnumerable<JsonObject> Lines(string directory) =>
        File.ReadLines(Path.Combine(directory, "metrics.jsonl")).Select(line => JsonNode.Parse(line)!.AsObject());
}
