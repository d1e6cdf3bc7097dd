using System.Text.Json;
using Peft.Data.Tables;
using Peft.Evaluation.Metrics;

namespace Peft.Evaluation;

/// <summary>Writes <c>examples.parquet</c>: one row an example and subject.</summary>
public static class ExamplesFile
{
    /// <summary>Name of the file beside results.json.</summary>
    public const string Name = "examples.parquet";

    private static readonly (string, string)[] Columns =
    [
        ("subject", "VARCHAR"), ("task", "VARCHAR"), ("row", "BIGINT"), ("prompt", "VARCHAR"), ("prediction", "VARCHAR"), ("answer", "VARCHAR"),
        ("score", "DOUBLE"), ("log_likelihoods", "DOUBLE[]"),
    ];

    /// <summary>Writes the examples, atomically.</summary>
    /// <param name="path">The file.</param>
    /// <param name="answers">Judged rows of each subject.</param>
    public static void Write(string path, IEnumerable<(string Subject, JudgedRow Row)> answers)
    {
        var lines = path + ".jsonl";
        try
        {
            using (var writer = new StreamWriter(lines))
            {
                foreach (var (subject, row) in answers)
                    writer.WriteLine(Line(subject, row));
            }
            ParquetFile.Write(path, lines, Columns);
        }
        finally
        {
            File.Delete(lines);
        }
    }

    private static string Line(string subject, JudgedRow row) => JsonSerializer.Serialize(new
    {
        subject,
        task = row.Task.Name,
        row = row.Row.Index,
        prompt = Text(row.Row.Prompt),
        prediction = Text(row.Shown),
        answer = Text(row.Row.Answer),
        score = Finite(Metric.Named(row.Task.Metrics[0]).ScoreOf(row)),
        log_likelihoods = row.Result.LogLikelihoods.Select(Finite),
    });

    // A choice that the row lacks has no likelihood.
    private static double? Finite(double value) => double.IsFinite(value) ? value : null;

    // DuckDB's JSON reader refuses this character.
    private static string Text(string text) => text.Replace('\0', '\uFFFD');
}
