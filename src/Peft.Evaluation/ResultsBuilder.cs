using System.Globalization;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Statistics;
using Peft.Evaluation.Tasks;
using Peft.Formats.Files;

namespace Peft.Evaluation;

/// <summary>Answers to numbers: values with intervals, and paired comparisons of all subjects.</summary>
public static class ResultsBuilder
{
    /// <summary>Name of the correction that is applied.</summary>
    public const string Correction = "holm";

    /// <summary>Puts the results together.</summary>
    /// <param name="subjects">What was measured.</param>
    /// <param name="tasks">On what, in the order of each subject's answers.</param>
    /// <param name="baseModel">The base.</param>
    /// <param name="settings">How.</param>
    /// <param name="peftVersion">Version of the program.</param>
    /// <param name="now">The time.</param>
    /// <param name="compares">Whether every pair of subjects is compared.</param>
    public static ResultsDocument Build(
        IReadOnlyList<MeasuredSubject> subjects, IReadOnlyList<TaskData> tasks, MeasuredBase baseModel,
        ResultsSettings settings,
        string peftVersion, DateTimeOffset now, bool compares = true)
    {
        var scores = new List<Score>();
        var comparisons = new List<Comparison>();
        foreach (var (task, data) in tasks.Index())
        {
            foreach (var metric in data.Task.Metrics.Select(Metric.Named))
            {
                var rows = subjects.Select(subject => subject.Answers[task].Select(metric.OfRow).ToList()).ToList();
                scores.AddRange(
                    subjects.Zip(rows, (subject, own) => ScoreOf(subject, data.Task, metric, own, settings)));
                for (var a = 0; compares && a < subjects.Count; a++)
                {
                    for (var b = a + 1; b < subjects.Count; b++)
                        comparisons.Add(
                            Compare(subjects[a], subjects[b], data.Task, metric, [.. rows[a], .. rows[b]], settings));
                }
            }
        }
        return new ResultsDocument(
            now.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture), peftVersion,
            settings, baseModel,
            [.. subjects.Select(subject => subject.Description)],
            [.. tasks.Select((data, task) => Describe(data, subjects, task))], scores,
            Corrected(comparisons, settings),
            [.. subjects.Select(subject => subject.Routing).OfType<SubjectRouting>()]);
    }

    /// <summary>Writes the results and the rows behind them. The results come last: rows without them are of a run that
    /// was ended here.</summary>
    /// <exception cref="FileOperationException">The disk is full, the place may not be written to, ...</exception>
    public static void Save(string directory, ResultsDocument results, IReadOnlyList<MeasuredSubject> subjects)
    {
        ExamplesFile.Write(
            Path.Combine(directory, ExamplesFile.Name),
            subjects.SelectMany(
                subject => subject.Answers.SelectMany(rows => rows.Select(row => (subject.Description.Name, row)))));
        ResultsFile.Save(Path.Combine(directory, ResultsFile.Name), results);
    }

    private static MeasuredTask Describe(TaskData data, IReadOnlyList<MeasuredSubject> subjects, int task) => new(
        data.Task.Name, TaskKinds.NameOf(data.Task.Kind), data.Task.DataName, data.Rows.Count, data.RowsHash,
        // All subjects have one tokenizer and one context.
        subjects[0].Answers[task].Count(row => row.Result.IsTruncated),
        subjects.Max(subject => subject.Answers[task].Count(row => row.IsTie)),
        data.Task.Shots.Count,
        [
            .. data.Task.Metrics.Select(Metric.Named)
                .Select((metric, at) => new TaskMetric(metric.Name, metric.HigherIsBetter, at == 0, metric.Unit)),
        ]);

    private static Score ScoreOf(
        MeasuredSubject subject, EvaluationTask task, Metric metric, List<double[]> rows, ResultsSettings settings)
    {
        int[] all = [.. Enumerable.Range(0, rows.Count)];
        var interval = Bootstrap.Interval(
            rows.Count, chosen => metric.Combine(rows, chosen), settings.BootstrapSamples, settings.Confidence,
            settings.Seed);
        return new(
            subject.Description.Name, task.Name, metric.Name, metric.Combine(rows, all), interval.Low, interval.High,
            rows.Count);
    }

    private static Comparison Compare(
        MeasuredSubject a, MeasuredSubject b, EvaluationTask task, Metric metric, List<double[]> pooled,
        ResultsSettings settings)
    {
        var pair = PairedComparison.Of(
            pooled.Count / 2, chosen => metric.Combine(pooled, chosen), settings.BootstrapSamples, settings.Confidence,
            settings.Seed);
        return new(
            task.Name, metric.Name, a.Description.Name, b.Description.Name, pair.Difference, pair.Interval.Low,
            pair.Interval.High, pair.P, pair.P, false);
    }

    // One correction over everything that is compared.
    private static List<Comparison> Corrected(List<Comparison> comparisons, ResultsSettings settings)
    {
        var adjusted = HolmCorrection.Adjust([.. comparisons.Select(comparison => comparison.P)]);
        return [.. comparisons.Select((comparison, at) => comparison with
        {
            PAdjusted = adjusted[at],
            Significant = adjusted[at] < 1 - settings.Confidence,
        })];
    }
}
