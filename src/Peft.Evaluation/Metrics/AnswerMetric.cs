namespace Peft.Evaluation.Metrics;

/// <summary>How generated answers are compared with the expected ones; one line a metric in <see cref="All"/>.</summary>
/// <param name="Name">Name as written in a recipe.</param>
/// <param name="Description">What it says, for help and reports.</param>
/// <param name="HigherIsBetter">Whether larger values are better.</param>
/// <param name="Score">Predictions and answers, row by row, to one value.</param>
public sealed record AnswerMetric(
    string Name, string Description, bool HigherIsBetter,
    Func<IReadOnlyList<string>, IReadOnlyList<string>, double> Score)
{
    /// <summary>The metrics there are.</summary>
    public static IReadOnlyList<AnswerMetric> All { get; } =
    [
        new("accuracy", "share of rows whose answer is the expected label", true, ShareEqual),
        new("exact_match", "share of rows whose answer is the expected text", true, ShareEqual),
        new("token_error_rate", "edits between whitespace-separated tokens, per expected token (phoneme or word error rate)",
            false, (p, a) => ErrorRate(p, a, Words)),
        new("char_error_rate", "edits between characters, per expected character", false, (p, a) => ErrorRate(p, a, Characters)),
    ];

    /// <summary>The names in <see cref="All"/>.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. All.Select(m => m.Name)];

    /// <summary>The metric with this name.</summary>
    public static AnswerMetric Of(string name) => All.Single(m => m.Name == name);

    // White space at the ends and its amount inside say nothing about an answer.
    private static string Normalized(string text) => string.Join(' ', Words(text));

    private static double ShareEqual(IReadOnlyList<string> predictions, IReadOnlyList<string> answers) =>
        Pairs(predictions, answers).Count(pair => Normalized(pair.Prediction) == Normalized(pair.Answer))
        / (double)Math.Max(1, answers.Count);

    private static double ErrorRate(
        IReadOnlyList<string> predictions, IReadOnlyList<string> answers, Func<string, string[]> units)
    {
        var (edits, total) = (0L, 0L);
        foreach (var (prediction, answer) in Pairs(predictions, answers))
        {
            var expected = units(answer);
            edits += EditDistance.Between(units(prediction), expected);
            total += expected.Length;
        }
        return edits / (double)Math.Max(1, total);
    }

    private static IEnumerable<(string Prediction, string Answer)> Pairs(
        IReadOnlyList<string> predictions, IReadOnlyList<string> answers) => predictions.Count == answers.Count
        ? predictions.Zip(answers)
        : throw new ArgumentException($"{predictions.Count} predictions for {answers.Count} answers", nameof(predictions));

    private static string[] Words(string text) =>
        text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    private static string[] Characters(string text) => [.. Normalized(text).EnumerateRunes().Select(r => r.ToString())];
}
