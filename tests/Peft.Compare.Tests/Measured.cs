using System.Globalization;
using System.Text;
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

    /// <summary>The rows of results that lie in a directory.</summary>
    /// <exception cref="InvalidOperationException">Rows and results do not belong together.</exception>
    public static SortedDictionary<string, TaskPoints> Read(string directory)
    {
        var results = ResultsFile.Load(directory);
        var rows = results.Tasks.ToDictionary(task => task.Name, _ => new List<(long Row, double Score, int Words)>());
        ExampleTable.Read(Path.Combine(directory, ExamplesFile.Name),
            [ExamplesFile.Task, ExamplesFile.Row, ExamplesFile.Score, ExamplesFile.Answer], group =>
            {
                for (var i = 0; i < group.Count; i++)
                    rows[group.Text(ExamplesFile.Task, i)].Add((group.Whole(ExamplesFile.Row, i),
                        group.Number(ExamplesFile.Score, i)!.Value,
                        group.Text(ExamplesFile.Answer, i).Split(' ', StringSplitOptions.RemoveEmptyEntries).Length));
            });
        var points = new SortedDictionary<string, TaskPoints>(StringComparer.Ordinal);
        foreach (var task in results.Tasks)
        {
            var metric = task.Main;
            var isRate = metric.Name == "token_error_rate"; // a row's score is its errors by its expected words
            var text = new StringBuilder();
            foreach (var (_, score, words) in rows[task.Name].OrderBy(row => row.Row))
                text.Append(Digits[Math.Min(Digits.Length - 1, (int)Math.Round(isRate ? score * words : score))]);
            var per = isRate ? rows[task.Name].Average(row => row.Words) : 1;
            var own = new TaskPoints(metric.Name, metric.HigherIsBetter, task.RowsHash, text.ToString(), per);
            var told = results.Scores.Single(score => score.Task == task.Name && score.Metric == metric.Name).Value;
            if (Math.Abs(own.Values().Average() - told) > 1e-6)
                throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture,
                    $"{directory}: {task.Name}: the rows give {own.Values().Average()}, the results say {told}"));
            points.Add(task.Name, own);
        }
        return points;
    }
}

/// <summary>What one run came to.</summary>
/// <param name="Setting">Name of the setting.</param>
/// <param name="Arm">Name of the arm.</param>
/// <param name="Seed">Its seed.</param>
/// <param name="Rate">Its learning rate.</param>
/// <param name="Trained">How many values were trained.</param>
/// <param name="TokenSeconds">Seconds of a training step for each of its tokens, of the first stage: the fast decile, since
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
    public static Measured Read(
        Setting setting, Arm arm, int seed, double rate, long trained, double megabytes, string first, string last,
        bool isChoice)
    {
        var speeds = Lines(first).Where(line => line.ContainsKey("loss")).Skip(WarmUp)
            .Select(line => (double)line["tokens_per_second"]!).OrderDescending().ToList();
        List<double> support = [.. Lines(last).Select(line => line["routing"]?.AsObject())
            .Where(modules => modules is { Count: > 0 })
            .Select(modules => Math.Round(modules!.Average(module => (double)module.Value!["effective_support"]!), 3))];
        return new(setting.Name, arm.Name, seed, rate, trained, Rounded(1 / speeds[speeds.Count / 10]),
            Math.Round(megabytes), support, isChoice ? Rounded(LossOf(last)) : null,
            isChoice ? [] : TaskPoints.Read(last));
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
