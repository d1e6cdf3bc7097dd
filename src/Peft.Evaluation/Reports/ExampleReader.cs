using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Formats;

namespace Peft.Evaluation.Reports;

/// <summary>The rows behind results: <c>examples.parquet</c>, one row an example.</summary>
internal static class ExampleReader
{
    private const int EachKind = 2; // rows shown of each kind
    private const int LongestPrompt = 700;
    private const int LongestAnswer = 300;

    private static readonly string[] LineColumns =
    [
        ExamplesFile.Subject, ExamplesFile.Task, ExamplesFile.Row, ExamplesFile.Score, ExamplesFile.Prediction,
        ExamplesFile.Answer,
    ];

    private static readonly string[] TextColumns =
    [
        ExamplesFile.Subject, ExamplesFile.Task, ExamplesFile.Row, ExamplesFile.Prompt, ExamplesFile.Prediction,
        ExamplesFile.Answer,
    ];

    /// <summary>One example, without its texts.</summary>
    /// <param name="Subject">Whose.</param>
    /// <param name="Task">Of which task.</param>
    /// <param name="Row">Number of the row, from 1.</param>
    /// <param name="Score">Its score.</param>
    /// <param name="IsSame">Whether the prediction is the answer, but for white space at the ends.</param>
    public sealed record Line(string Subject, string Task, long Row, double Score, bool IsSame);

    /// <summary>All examples of a file, texts left out, subjects under their new names.</summary>
    /// <exception cref="UserException">The file is not a table of examples.</exception>
    public static IReadOnlyList<Line> Lines(string path, IReadOnlyDictionary<string, string> names)
    {
        var lines = new List<Line>();
        var before = RowsBefore(path);
        ExampleTable.Read(path, LineColumns, rows =>
        {
            for (var row = 0; row < rows.Count; row++)
            {
                if (rows.Number(ExamplesFile.Score, row) is not { } score)
                    continue;
                var subject = rows.Text(ExamplesFile.Subject, row);
                lines.Add(new(
                    names.GetValueOrDefault(subject, subject), rows.Text(ExamplesFile.Task, row),
                    before + rows.Whole(ExamplesFile.Row, row), score,
                    rows.Text(ExamplesFile.Prediction, row).Trim() == rows.Text(ExamplesFile.Answer, row).Trim()));
            }
        });
        return lines;
    }

    /// <summary>
    /// Rows to show of each task, by rule and not by looking: the first ones on which the subjects differ, that all get
    /// right, and that all get wrong. Only the adapters count where there are any. A grade is near or far, not right.
    /// </summary>
    /// <param name="results">What was measured.</param>
    /// <param name="files">Each file with the new names of its subjects.</param>
    /// <param name="lines">The examples of all files.</param>
    public static IReadOnlyList<ReportExamples> Choose(
        ResultsDocument results, IReadOnlyList<(string Path, IReadOnlyDictionary<string, string> Names)> files,
        IReadOnlyList<Line> lines)
    {
        var judged = results.Subjects.Where(s => s.Kind == Subject.AdapterKind).Select(s => s.Name).ToHashSet();
        if (judged.Count == 0)
            judged = [.. results.Subjects.Select(s => s.Name)];
        var examples = new List<ReportExamples>();
        foreach (var task in results.Tasks.Where(
            task => task.Kind != "perplexity" && !Metric.IsOfGrades(task.Main.Name)))
        {
            var rows = lines.Where(line => line.Task == task.Name && judged.Contains(line.Subject))
                .GroupBy(line => line.Row).OrderBy(g => g.Key)
                .Select(g => (Row: g.Key, Kind: KindOf([.. g.Select(line => IsRight(line, task))]))).ToList();
            var chosen = rows.GroupBy(r => r.Kind).OrderBy(g => g.Key, StringComparer.Ordinal)
                .SelectMany(g => g.Take(EachKind)).ToList();
            if (chosen.Count > 0)
                examples.Add(new(task.Name, Texts(results, task, files, lines, chosen)));
        }
        return examples;
    }

    // Rows are counted from 1; versions before December 2026 counted them from 0.
    private static long RowsBefore(string path)
    {
        var isFromZero = false;
        ExampleTable.Read(path, [ExamplesFile.Row], rows =>
            isFromZero |= Enumerable.Range(0, rows.Count).Any(row => rows.Whole(ExamplesFile.Row, row) == 0));
        return isFromZero ? 1 : 0;
    }

    private static string KindOf(List<bool> right) =>
        right.Distinct().Count() > 1
            ? "adapters differ" : (right.Count > 1 ? "all " : "") + (right[0] ? "right" : "wrong");

    private static bool IsRight(Line line, MeasuredTask task) =>
        line.IsSame || task.Main.HigherIsBetter && line.Score >= 1;

    private static List<ReportExample> Texts(
        ResultsDocument results, MeasuredTask task,
        IReadOnlyList<(string Path, IReadOnlyDictionary<string, string> Names)> files,
        IReadOnlyList<Line> lines, List<(long Row, string Kind)> chosen)
    {
        var shown = chosen.Select(c => c.Row).ToHashSet();
        var texts = new Dictionary<(string Subject, long Row), (string Prompt, string Prediction, string Answer)>();
        foreach (var (path, names) in files)
        {
            var before = RowsBefore(path);
            ExampleTable.Read(path, TextColumns, rows =>
            {
                for (var row = 0; row < rows.Count; row++)
                {
                    var number = before + rows.Whole(ExamplesFile.Row, row);
                    if (rows.Text(ExamplesFile.Task, row) != task.Name || !shown.Contains(number))
                        continue;
                    var subject = rows.Text(ExamplesFile.Subject, row);
                    texts.TryAdd((names.GetValueOrDefault(subject, subject), number),
                        (
                            rows.Text(ExamplesFile.Prompt, row), rows.Text(ExamplesFile.Prediction, row),
                            rows.Text(ExamplesFile.Answer, row)));
                }
            });
        }
        var known = lines.Where(line => line.Task == task.Name).DistinctBy(line => (line.Subject, line.Row))
            .ToDictionary(line => (line.Subject, line.Row));
        return [.. chosen.Select(c =>
        {
            var subjects = results.Subjects.Select(s => s.Name)
                .Where(name => texts.ContainsKey((name, c.Row)) && known.ContainsKey((name, c.Row))).ToList();
            var (prompt, _, answer) = texts[(subjects[0], c.Row)];
            return new ReportExample(
                c.Row, ReportText.Cut(prompt, LongestPrompt), ReportText.Cut(answer.Trim(), LongestAnswer), c.Kind,
                [.. subjects.Select(name =>
                {
                    var line = known[(name, c.Row)];
                    var isRight = IsRight(line, task);
                    return new ReportPrediction(
                        name, ReportText.Cut(texts[(name, c.Row)].Prediction.Trim(), LongestAnswer), isRight,
                        isRight ? "right" : "wrong", ReportText.Number(line.Score));
                })]);
        })];
    }
}
