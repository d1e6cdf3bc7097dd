using System.Globalization;
using Peft.Evaluation.Results;
using Peft.Evaluation.Statistics;
using Peft.Formats.Files;

namespace Peft.Compare;

/// <summary>An arm in a setting, over its seeds.</summary>
/// <param name="Setting">The setting.</param>
/// <param name="Arm">The arm.</param>
/// <param name="Runs">Its runs, by seed.</param>
/// <param name="Mean">Mean over the tasks, higher is better: an error rate counts as 1 minus it.</param>
/// <param name="ByTask">The metric of each task, in its own direction.</param>
/// <param name="Difference">The mean less that of the reference, paired by seed and row; null for the
/// reference.</param>
/// <param name="DifferenceByTask">The metric of each task less the reference's.</param>
internal sealed record Finding(
    Setting Setting, Arm Arm, IReadOnlyList<Measured> Runs, SeedsAndRows Mean,
    IReadOnlyDictionary<string, SeedsAndRows> ByTask, SeedsAndRows? Difference,
    IReadOnlyDictionary<string, SeedsAndRows>? DifferenceByTask)
{
    /// <summary>A corrected p value below it is more than chance.</summary>
    public const double Decided = 0.05;

    /// <summary>The p value of the difference, corrected over all arms and settings of the study (Holm).</summary>
    public double PAdjusted { get; init; } = 1;

    /// <summary>
    /// What a study found, in the order of its settings and arms; only arms of which every seed is there.
    /// </summary>
    public static IReadOnlyList<Finding> Of(Study study, IReadOnlyList<Measured> runs)
    {
        var seeds = runs.Select(run => run.Seed).Distinct().Order().ToList();
        var found = new List<Finding>();
        foreach (var setting in study.Settings)
        {
            Finding? reference = null;
            // The reference comes first, whatever its place.
            foreach (var arm in study.ArmsIn(setting).OrderBy(arm => arm.Name != study.Reference))
            {
                List<Measured> own = [.. runs.Where(run => run.Setting == setting.Name && run.Arm == arm.Name)
                    .OrderBy(run => run.Seed)];
                if (own.Count < seeds.Count)
                    continue;
                var finding = Of(setting, arm, own, reference);
                reference ??= arm.Name == study.Reference ? finding : null;
                found.Add(finding);
            }
        }
        var compared = found.Where(finding => finding.Difference is not null).ToList();
        var adjusted = HolmCorrection.Adjust([.. compared.Select(finding => finding.Difference!.P)]);
        return [.. found.Select(finding => compared.IndexOf(finding) is var at and >= 0
            ? finding with { PAdjusted = adjusted[at] } : finding)];
    }

    /// <summary>Scores of runs by task, seed and row, higher is better: an error rate counts as 1 minus it.</summary>
    public static Dictionary<string, double[][]> Scores(IReadOnlyList<Measured> runs) =>
        ValuesOf(runs).ToDictionary(task => task.Key, task => runs[0].Tasks[task.Key].HigherIsBetter ? task.Value
            : [.. task.Value.Select(seed => seed.Select(value => 1 - value).ToArray())]);

    /// <summary>Differences of values by seed and row.</summary>
    public static double[][] Minus(double[][] a, double[][] b) =>
        [.. a.Zip(b, (first, second) => first.Zip(second, (x, y) => x - y).ToArray())];

    private static Finding Of(Setting setting, Arm arm, IReadOnlyList<Measured> runs, Finding? reference)
    {
        var (own, scores) = (ValuesOf(runs), Scores(runs));
        var (other, otherScores) = reference is null ? ([], []) : (ValuesOf(reference.Runs), Scores(reference.Runs));
        return new(setting, arm, runs, SeedsAndRows.Of([.. scores.Values]),
            own.ToDictionary(task => task.Key, task => SeedsAndRows.Of([task.Value])),
            reference is null ? null
                : SeedsAndRows.Of([.. scores.Select(task => Minus(task.Value, otherScores[task.Key]))]),
            reference is null ? null
                : own.ToDictionary(task => task.Key, task => SeedsAndRows.Of([Minus(task.Value, other[task.Key])])));
    }

    private static Dictionary<string, double[][]> ValuesOf(IReadOnlyList<Measured> runs)
    {
        if (runs.Count == 0)
            return [];
        foreach (var task in runs[0].Tasks.Keys)
        {
            if (runs.Select(run => run.Tasks[task].RowsHash).Distinct().Count() > 1)
                throw new InvalidOperationException($"{task}: runs of one arm were measured on different rows");
        }
        return runs[0].Tasks.Keys.ToDictionary(task => task,
            task => runs.Select(run => run.Tasks[task].Values()).ToArray());
    }

    /// <summary>
    /// Findings of one setting of a study as the results that <c>peft report</c> renders: a subject an arm.
    /// </summary>
    public static ResultsDocument Document(Study study, IReadOnlyList<Finding> findings, int seeds, string version)
    {
        const string All = "mean of the tasks";
        var first = findings[0].Runs[0];
        var tasks = first.Tasks.Select(task => new MeasuredTask(task.Key, "generation", $"{seeds} seeds",
            task.Value.Points.Length, task.Value.RowsHash, 0, 0, 0,
            [new(task.Value.Metric, task.Value.HigherIsBetter, true, "rate")])).ToList();
        var compared = findings.Where(finding => finding.Difference is not null).ToList();
        var single = compared.SelectMany(finding => tasks.Select(task =>
            (Finding: finding, Task: task, Value: finding.DifferenceByTask![task.Name]))).ToList();
        var adjusted = HolmCorrection.Adjust([.. single.Select(one => one.Value.P)]);
        var mean = new MeasuredTask(All, "generation", $"{seeds} seeds", tasks.Sum(task => task.Rows), "", 0, 0, 0,
            [new("mean_score", true, true, "score")]);
        return new(DateTime.UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture), version,
            new(0, 64, "bfloat16", 0, 0.95, "holm"), new("base", Plan.BaseFingerprint),
            [.. findings.Select(finding => new Subject(
                finding.Arm.Name, Subject.AdapterKind, "", finding.Arm.Name, null, null, finding.Runs[0].Trained, null,
                (long)(finding.Runs.Max(run => run.PeakMegabytes) * 1e6), 0, null, null))],
            [mean, .. tasks],
            [
                .. findings.Select(finding => ScoreOf(finding, mean, finding.Mean)),
                .. findings.SelectMany(finding =>
                    tasks.Select(task => ScoreOf(finding, task, finding.ByTask[task.Name]))),
            ],
            [
                .. compared.Select(finding => ComparisonOf(finding, mean, finding.Difference!, finding.PAdjusted)),
                .. single.Zip(adjusted, (one, p) => ComparisonOf(one.Finding, one.Task, one.Value, p)),
            ], []);

        Score ScoreOf(Finding finding, MeasuredTask task, SeedsAndRows value) => new(finding.Arm.Name, task.Name,
            task.Main.Name, value.Mean, value.Low, value.High, task.Rows);

        Comparison ComparisonOf(Finding finding, MeasuredTask task, SeedsAndRows value, double adjusted) => new(
            task.Name, task.Main.Name, study.Reference, finding.Arm.Name, value.Mean, value.Low, value.High, value.P,
            adjusted, adjusted < Decided);
    }
}
