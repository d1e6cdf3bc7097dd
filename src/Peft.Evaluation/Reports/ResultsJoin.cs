using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Statistics;
using Peft.Formats;
using Peft.Models.Loading;

namespace Peft.Evaluation.Reports;

/// <summary>Results of several evaluations of one base on the same rows become one.</summary>
public static class ResultsJoin
{
    private const double SameMean = 1e-6; // a main metric that is the mean of its rows' scores

    /// <summary>
    /// New names of each file's subjects: one that is met again (the base, the same bundle) keeps its name, another of
    /// the same name is called by its path too.
    /// </summary>
    public static IReadOnlyList<IReadOnlyDictionary<string, string>> Names(
        IReadOnlyList<(string Path, ResultsDocument Results)> files) =>
        [
            .. files.Select(
                (file, i) => Names(file.Results, [.. files.Take(i).SelectMany(f => f.Results.Subjects)], file.Path)),
        ];

    /// <summary>Joins results.</summary>
    /// <param name="files">Where each lay, for faults, and its content; at least one.</param>
    /// <param name="names">What <see cref="Names(IReadOnlyList{ValueTuple{string, ResultsDocument}})"/> gave.</param>
    /// <param name="rows">The rows behind them, by (subject, task), where these are known.</param>
    /// <param name="notes">Takes what the reader of the report should know.</param>
    /// <exception cref="UserException">Another base, other rows, or metrics that differ.</exception>
    public static ResultsDocument Join(
        IReadOnlyList<(string Path, ResultsDocument Results)> files,
        IReadOnlyList<IReadOnlyDictionary<string, string>> names,
        ExampleScores rows, List<string> notes)
    {
        var first = files[0].Results;
        if (files.Count == 1)
            return first;
        var faults = new Faults();
        foreach (var (path, results) in files.Skip(1))
            Check(files[0].Path, first, path, results, faults);
        faults.ThrowIfAny("joining the results");
        var named = files.Zip(names).Select(file => Renamed(file.First.Results, file.Second)).ToList();
        var joined = first with
        {
            Created = files.Max(f => f.Results.Created)!,
            Subjects = [.. named.SelectMany(r => r.Subjects).DistinctBy(s => s.Name).OrderBy(Rank)],
            Tasks = [.. named.SelectMany(r => r.Tasks).DistinctBy(t => t.Name)],
            Scores = [.. named.SelectMany(r => r.Scores).DistinctBy(s => (s.Subject, s.Task, s.Metric))],
            Comparisons =
            [
                .. named.SelectMany(r => r.Comparisons)
                    .DistinctBy(c => (c.Task, c.Metric, string.CompareOrdinal(c.A, c.B) < 0 ? (c.A, c.B) : (c.B, c.A))),
            ],
            Routing = [.. named.SelectMany(r => r.Routing).DistinctBy(r => r.Subject)],
            Sequences = [.. named.SelectMany(r => r.Sequences).DistinctBy(s => string.Join('\n', s.Stages))],
        };
        if (files.Any(f => f.Results.Settings.Dtype != first.Settings.Dtype))
            notes.Add("The results were computed in different types: "
                + $"{string.Join(", ", files.Select(f => f.Results.Settings.Dtype).Distinct())}.");
        var incomplete = joined.Tasks.Where(t => !named.All(r => r.Tasks.Any(other => other.Name == t.Name)))
            .Select(t => t.Name).ToList();
        if (incomplete.Count > 0)
            notes.Add($"Not measured in every file: {Words.AllOf(incomplete)}.");
        return Compared(joined, rows, notes);
    }

    private static void Check(
        string firstPath, ResultsDocument first, string path, ResultsDocument other, Faults faults)
    {
        if (other.Base.Fingerprint != first.Base.Fingerprint)
            faults.Add(path, $"base {Quote.Of(other.Base.Name)} "
                + $"({CheckpointFingerprint.Short(other.Base.Fingerprint)})",
                $"the base of {firstPath}: {Quote.Of(first.Base.Name)} "
                    + $"({CheckpointFingerprint.Short(first.Base.Fingerprint)})", "compare adapters of one base");
        foreach (var task in other.Tasks)
        {
            if (first.Tasks.FirstOrDefault(t => t.Name == task.Name) is not { } known)
                continue;
            if (known.RowsHash != task.RowsHash)
                faults.Add(path, $"task {Quote.Of(task.Name)} has {task.Rows} other rows "
                    + $"({CheckpointFingerprint.Short(task.RowsHash)})",
                    $"the rows of {firstPath} ({known.Rows}, {CheckpointFingerprint.Short(known.RowsHash)})",
                    "evaluate both on the same rows, best in one peft eval");
            if (known.Main.Name != task.Main.Name || known.Main.HigherIsBetter != task.Main.HigherIsBetter)
                faults.Add(
                    path, $"task {Quote.Of(task.Name)} has the metric {Quote.Of(task.Main.Name)}",
                    $"the one of {firstPath}: {Quote.Of(known.Main.Name)}");
        }
    }

    // The base, then what was recorded, then the adapters.
    private static int Rank(Subject subject) =>
        subject.Kind switch { Subject.BaseKind => 0, Subject.RecordedKind => 1, _ => 2 };

    private static Dictionary<string, string> Names(ResultsDocument results, List<Subject> earlier, string path) =>
        results.Subjects.ToDictionary(s => s.Name, subject =>
            earlier.FirstOrDefault(s => s.Name == subject.Name) is not { } known
                || known.Kind == subject.Kind && known.Fingerprint == subject.Fingerprint
                ? subject.Name : $"{subject.Name} ({path})");

    private static ResultsDocument Renamed(ResultsDocument results, IReadOnlyDictionary<string, string> names) =>
        results with
        {
            Subjects = [.. results.Subjects.Select(s => s with { Name = names[s.Name] })],
            Scores = [.. results.Scores.Select(s => s with { Subject = names[s.Subject] })],
            Comparisons = [.. results.Comparisons.Select(c => c with { A = names[c.A], B = names[c.B] })],
            Routing = [.. results.Routing.Select(r => r with { Subject = names[r.Subject] })],
            Sequences =
            [
                .. results.Sequences.Select(s => s with { Stages = [.. s.Stages.Select(name => names[name])] }),
            ],
        };

    // Pairs that stood in different files are compared here, where their rows' scores are at hand; then all p values
    // are corrected anew.
    private static ResultsDocument Compared(ResultsDocument joined, ExampleScores rows, List<string> notes)
    {
        var comparisons = joined.Comparisons.ToList();
        var missing = 0;
        foreach (var task in joined.Tasks)
        {
            var measured = joined.Subjects
                .Where(s => s.Kind != Subject.RecordedKind
                    && joined.ScoreOf(s.Name, task.Name, task.Main.Name) is not null)
                .Select(s => s.Name);
            foreach (var (a, b) in Pairs([.. measured]))
            {
                if (joined.ComparisonOf(task.Name, task.Main.Name, a, b) is not null)
                    continue;
                if (Scores(a) is { } first && Scores(b) is { } second && rows.AreSameRows(task.Name, a, b))
                    comparisons.Add(Compare(joined.Settings, task, a, b, first, second));
                else
                    missing++;
            }

            double[]? Scores(string subject) => rows.Of(subject, task.Name) is { Length: > 0 } scores
                && Math.Abs(scores.Average() - joined.ScoreOf(subject, task.Name, task.Main.Name)!.Value) < SameMean
                    ? scores : null;
        }
        if (missing > 0)
            notes.Add(
                $"{Words.Count(missing, "pair")} of different results files could not be compared row by row (no "
                    + "examples.parquet beside them, or a "
                + "metric that is not a mean over rows): evaluate them in one peft eval.");
        if (joined.Settings.Correction == "none")
            return joined with { Comparisons = comparisons };
        var adjusted = HolmCorrection.Adjust([.. comparisons.Select(c => c.P)]);
        return joined with
        {
            Comparisons = [.. comparisons.Zip(adjusted).Select(pair => pair.First with
            {
                PAdjusted = pair.Second,
                Significant = pair.Second < 1 - joined.Settings.Confidence,
            })],
        };
    }

    private static Comparison Compare(
        ResultsSettings settings, MeasuredTask task, string a, string b, double[] first, double[] second)
    {
        var paired = PairedComparison.Of(
            first.Length, Mean, settings.BootstrapSamples, settings.Confidence, settings.Seed);
        return new(
            task.Name, task.Main.Name, a, b, paired.Difference, paired.Interval.Low, paired.Interval.High, paired.P,
            paired.P,
            paired.P < 1 - settings.Confidence);

        double Mean(ReadOnlySpan<int> drawn)
        {
            var sum = 0.0;
            foreach (var row in drawn)
                sum += row < first.Length ? first[row] : second[row - first.Length];
            return sum / drawn.Length;
        }
    }

    private static IEnumerable<(string A, string B)> Pairs(List<string> names) =>
        from i in Enumerable.Range(0, names.Count)
        from j in Enumerable.Range(
            i + 1, names.Count - i - 1)
        select (names[i], names[j]);
}

/// <summary>Scores of rows by subject and task, in the order of the rows' numbers.</summary>
public sealed class ExampleScores
{
    private readonly Dictionary<(string Subject, string Task), (long[] Rows, double[] Scores)> _scores = [];

    /// <summary>Notes the scores of one subject on one task.</summary>
    public void Add(string subject, string task, IReadOnlyList<(long Row, double Score)> scores)
    {
        var ordered = scores.OrderBy(s => s.Row).ToList();
        _scores.TryAdd((subject, task), ([.. ordered.Select(s => s.Row)], [.. ordered.Select(s => s.Score)]));
    }

    /// <summary>The scores, or null where they are not known.</summary>
    public double[]? Of(string subject, string task) =>
        _scores.TryGetValue((subject, task), out var found) ? found.Scores : null;

    /// <summary>Whether both subjects were scored on the same rows of a task.</summary>
    public bool AreSameRows(string task, string a, string b) =>
        _scores.TryGetValue((a, task), out var first) && _scores.TryGetValue((b, task), out var second)
            && first.Rows.AsSpan().SequenceEqual(second.Rows);
}
