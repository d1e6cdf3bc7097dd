using System.Globalization;
using System.Text;
using Peft.Evaluation.Tasks;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Evaluation.Metrics;

/// <summary>How the answers of a task become one number; one line a metric in <see cref="All"/>.</summary>
/// <param name="Name">Name as written in a task.</param>
/// <param name="Description">What it says, for help and reports.</param>
/// <param name="HigherIsBetter">Whether larger values are better.</param>
/// <param name="Unit">rate, score or bits.</param>
/// <param name="Kinds">The kinds of tasks it is for.</param>
/// <param name="OfRow">The numbers that a row contributes.</param>
/// <param name="Combine">The value of some rows, from what they contribute.</param>
public sealed record Metric(
    string Name, string Description, bool HigherIsBetter, string Unit, IReadOnlyList<TaskKind> Kinds,
    Func<JudgedRow, double[]> OfRow, Combine Combine)
{
    /// <summary>The metrics there are; the first of a kind is its default.</summary>
    public static IReadOnlyList<Metric> All { get; } =
    [
        new("acc", "share of rows whose likeliest choice is the right one", true, "rate", [TaskKind.MultipleChoice],
            row => [row.IsCorrect ? 1 : 0], Aggregate.Mean),
        new("acc_norm", "share of rows whose right choice has the largest log-likelihood per character",
            true, "rate", [TaskKind.MultipleChoice],
            row => [row.LikeliestPerCharacter == row.Row.Gold ? 1 : 0], Aggregate.Mean),
        new("acc_bytes", "share of rows whose right choice has the largest log-likelihood per byte",
            true, "rate", [TaskKind.MultipleChoice],
            row => [row.LikeliestPerByte == row.Row.Gold ? 1 : 0], Aggregate.Mean),
        new("accuracy", "share of rows whose answer is the expected label",
            true, "rate", [TaskKind.Classification, TaskKind.Generation],
            row => [row.IsCorrect ? 1 : 0], Aggregate.Mean),
        new("macro_f1", "mean over the labels of the F1 score of each", true, "score", [TaskKind.Classification],
            row => [row.Row.Gold, row.Likeliest], Aggregate.MacroF1),
        new("matthews_correlation", "correlation of predicted and expected labels: 1 at best, 0 for guessing",
            true, "score", [TaskKind.Classification],
            row => [row.Row.Gold, row.Likeliest], Aggregate.MatthewsCorrelation),
        new("pearson", "correlation of the expected value over the labels' likelihoods with the answers, 1 at best",
            true, "score", [TaskKind.Classification],
            row => [row.ExpectedGrade, row.Grade], Aggregate.Pearson),
        new("spearman", "correlation of the ranks of the same two, 1 at best",
            true, "score", [TaskKind.Classification],
            row => [row.ExpectedGrade, row.Grade], Aggregate.Spearman),
        new("exact_match", "share of rows whose answer is the expected text", true, "rate", [TaskKind.Generation],
            row => [row.IsCorrect ? 1 : 0], Aggregate.Mean),
        new("numeric", "share of rows whose answer ends in the expected number", true, "rate", [TaskKind.Generation],
            row => [NumericAnswer.AreEqual(row.Result.Prediction, row.Row.Answer) ? 1 : 0], Aggregate.Mean),
        new("token_f1", "overlap of words between answer and expected text, 0 to 1",
            true, "score", [TaskKind.Generation],
            row => [TokenOverlap.F1(WordsOf(row.Prediction), WordsOf(row.Answer))], Aggregate.Mean),
        new("token_error_rate", "edits between words (or phonemes), per expected one",
            false, "rate", [TaskKind.Generation],
            row => Edits(WordsOf(row.Prediction), WordsOf(row.Answer)), Aggregate.Ratio),
        new("char_error_rate", "edits between characters, per expected character", false, "rate", [TaskKind.Generation],
            row => Edits(Characters(row.Prediction), Characters(row.Answer)), Aggregate.Ratio),
        new("token_perplexity", "exponential of the mean negative log-likelihood of a token",
            false, "score", [TaskKind.Perplexity],
            row => [-row.Result.LogLikelihoods[0], row.Result.Tokens],
            (rows, chosen) => Perplexity(Aggregate.Ratio(rows, chosen))),
        new("bits_per_byte", "negative log-likelihood in bits per byte of UTF-8", false, "bits", [TaskKind.Perplexity],
            row => [-row.Result.LogLikelihoods[0] / Math.Log(2), Encoding.UTF8.GetByteCount(row.Row.Answer)],
            Aggregate.Ratio),
    ];

    /// <summary>The names of the metrics for a kind of task.</summary>
    public static IReadOnlyList<string> Of(TaskKind kind) =>
        [.. All.Where(m => m.Kinds.Contains(kind)).Select(m => m.Name)];

    /// <summary>Notes a fault where a name is not that of a metric for a kind of task.</summary>
    public static void Check(OptionReader reader, string key, string name, TaskKind kind)
    {
        var known = Of(kind);
        if (!known.Contains(name))
            reader.Fault(
                key, Quote.Of(name), $"a metric of {TaskKinds.NameOf(kind)} tasks: {Words.OneOf(known)}",
                NearestName.Of(name, known) is { } near ? $"did you mean {near}?" : null);
    }

    /// <summary>The metric of a task that names none.</summary>
    public static string DefaultOf(TaskKind kind) => kind == TaskKind.Generation ? "exact_match" : Of(kind)[0];

    /// <summary>The metric with this name.</summary>
    public static Metric Named(string name) => All.Single(m => m.Name == name);

    /// <summary>Whether a metric compares grades over all rows, so that no single row is right or wrong.</summary>
    public static bool IsOfGrades(string name) => name is "pearson" or "spearman";

    /// <summary>
    /// What one row's score in tables of examples is: the metric of that row alone, where that says something.
    /// </summary>
    public double ScoreOf(JudgedRow row) => Name switch
    {
        "macro_f1" or "matthews_correlation" => row.IsCorrect ? 1 : 0,
        _ when IsOfGrades(Name) => row.ExpectedGrade,
        _ => Combine([OfRow(row)], [0]),
    };

    private static double Perplexity(double mean) => Math.Exp(mean) is var value && double.IsFinite(value)
        ? value
        : throw UserException.At(
            "token_perplexity", $"a mean of {mean.ToString("0", CultureInfo.InvariantCulture)} nats a token",
            "a perplexity that a number can hold",
            "the adapter has diverged, or base and tokenizer do not belong together; bits_per_byte has no such limit");

    private static double[] Edits(string[] prediction, string[] answer) =>
        [EditDistance.Between(prediction, answer), answer.Length];

    private static string[] WordsOf(string text) => TextNormalization.Words(text);

    private static string[] Characters(string text) => [.. text.EnumerateRunes().Select(r => r.ToString())];
}
