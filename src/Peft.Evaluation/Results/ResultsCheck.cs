using System.Globalization;
using Peft.Evaluation.Metrics;
using Peft.Formats;

namespace Peft.Evaluation.Results;

/// <summary>Whether results agree with themselves: names, lengths and ranges.</summary>
internal static class ResultsCheck
{
    private const double LargestNumber = 1e9; // of what routing is averaged from: its sums and squares stay finite

    /// <summary>The first contradiction, or null.</summary>
    public static Fault? FirstFault(ResultsDocument results) => Faults(results).FirstOrDefault();

    private static IEnumerable<Fault> Faults(ResultsDocument results)
    {
        var subjects = results.Subjects.Select(s => s.Name).ToHashSet(StringComparer.Ordinal);
        var metrics = results.Tasks.SelectMany(t => t.Metrics.Select(m => (t.Name, m.Name))).ToHashSet();
        return SettingFaults(results.Settings)
            .Concat(SubjectFaults(results.Subjects))
            .Concat(TaskFaults(results.Tasks))
            .Concat(results.Scores.SelectMany(score => ScoreFaults(score, subjects, metrics)))
            .Concat(results.Comparisons.SelectMany(comparison => ComparisonFaults(comparison, subjects, metrics)))
            .Concat(results.Routing.SelectMany(routing => RoutingFaults(routing, subjects)))
            .Concat(results.Sequences.SelectMany(sequence => SequenceFaults(sequence, subjects, results.Tasks)));
    }

    private static IEnumerable<Fault> SettingFaults(ResultsSettings settings)
    {
        if (settings.Confidence is not (> 0 and < 1))
            yield return new(
                "settings.confidence", settings.Confidence.ToString(CultureInfo.InvariantCulture),
                "a number between 0 and 1");
        if (settings.Correction is not ("holm" or "none"))
            yield return new("settings.correction", Quote.Of(settings.Correction), "holm or none");
    }

    private static IEnumerable<Fault> SubjectFaults(IReadOnlyList<Subject> subjects)
    {
        if (subjects.Count == 0)
            yield return new("subjects", "an empty list", "at least one subject");
        if (Twice(subjects.Select(subject => subject.Name)) is { } twice)
            yield return new("subjects", $"two are named {Quote.Of(twice)}", "distinct names");
        foreach (var subject in subjects)
        {
            var place = $"subject {Quote.Of(subject.Name)}";
            if (subject.Kind is not (Subject.BaseKind or Subject.AdapterKind or Subject.RecordedKind))
                yield return new(
                    place, $"kind {Quote.Of(subject.Kind)}",
                    Words.OneOf([Subject.BaseKind, Subject.AdapterKind, Subject.RecordedKind]));
            if (subject.TrainableParameters < 0)
                yield return new(place, $"trainable_parameters {subject.TrainableParameters}", "a number from 0");
            if (subject.Training is { } curves && CurveFault(place, curves) is { } fault)
                yield return fault;
        }
    }

    private static IEnumerable<Fault> TaskFaults(IReadOnlyList<MeasuredTask> tasks)
    {
        if (Twice(tasks.Select(task => task.Name)) is { } twice)
            yield return new("tasks", $"two are named {Quote.Of(twice)}", "distinct names");
        foreach (var task in tasks)
        {
            if (task.Metrics.Count == 0)
                yield return new($"task {Quote.Of(task.Name)}", "no metrics", "at least one");
            if (Math.Min(task.Rows, Math.Min(task.Truncated, Math.Min(task.Ties, task.Shots))) < 0)
                yield return new($"task {Quote.Of(task.Name)}", "a negative number of rows", "numbers from 0");
        }
    }

    private static IEnumerable<Fault> ScoreFaults(
        Score score, HashSet<string> subjects, HashSet<(string, string)> metrics)
    {
        var place = $"the score of {Quote.Of(score.Subject)} on {Quote.Of(score.Task)} by {Quote.Of(score.Metric)}";
        if (!subjects.Contains(score.Subject) || !metrics.Contains((score.Task, score.Metric)))
            yield return new(place, "nothing that this file describes", "a subject, task and metric of this file");
        if (!AreFinite(score.Value, score.Low ?? 0, score.High ?? 0) || score.Rows < 0)
            yield return new(place, "a number out of range", "finite values, and rows from 0");
    }

    private static IEnumerable<Fault> ComparisonFaults(
        Comparison c, HashSet<string> subjects, HashSet<(string, string)> metrics)
    {
        var place =
            $"the comparison of {Quote.Of(c.A)} and {Quote.Of(c.B)} on {Quote.Of(c.Task)} by {Quote.Of(c.Metric)}";
        if (!subjects.Contains(c.A) || !subjects.Contains(c.B) || !metrics.Contains((c.Task, c.Metric)))
            yield return new(place, "nothing that this file describes", "subjects, a task and a metric of this file");
        if (!AreFinite(c.Difference, c.Low, c.High) || c.P is not (>= 0 and <= 1) || c.PAdjusted is not (>= 0 and <= 1))
            yield return new(place, "a number out of range", "finite numbers, and p values from 0 to 1");
    }

    private static IEnumerable<Fault> RoutingFaults(SubjectRouting routing, HashSet<string> subjects)
    {
        var place = $"routing of {Quote.Of(routing.Subject)}";
        if (!subjects.Contains(routing.Subject))
            yield return new(place, "an unknown subject", "a subject of this file");
        if (!Numbers(routing).All(value => Math.Abs(value) <= LargestNumber))
            yield return new(place, "a number out of range", "shares, rates and entropies");
        if (
            routing.ExpertByTask is { } matrix
                && (matrix.Matrix.Count != routing.Tasks.Count || !IsRectangular(matrix.Matrix)))
            yield return new(
                $"{place}, expert_by_task.matrix", "another shape",
                $"one row for each of the {Words.Count(routing.Tasks.Count, "task")}, all of one length");
        if (
            routing.Similarity is { } cosines
                && (!IsRectangular(cosines) || cosines.Count > 0 && cosines[0].Count != cosines.Count))
            yield return new($"{place}, similarity", "another shape", "a square matrix");
        if (
            routing.TaskDistance is { } distance
                && (distance.Count != routing.Tasks.Count || distance.Any(row => row.Count != distance.Count)))
            yield return new(
                $"{place}, task_distance", "another shape",
                $"one row and one column for each of the {Words.Count(routing.Tasks.Count, "task")}");
        if (routing.Srp is { } ratios && ratios.SizeRatios.Count > 0
            && ratios.SizeRatios.Count != ratios.Segments.Count)
            yield return new(
                $"{place}, srp.size_ratios", Words.Count(ratios.SizeRatios.Count, "value"),
                $"one for each of the {Words.Count(ratios.Segments.Count, "segment")}");
        if (routing.Srp is { } srp && srp.Segments.Count != srp.Values.Count)
            yield return new(
                $"{place}, srp", Words.Count(srp.Values.Count, "value"),
                $"one for each of the {Words.Count(srp.Segments.Count, "segment")}");
        if (
            routing.Sch is { } sch
                && (sch.Values.Count != sch.Segments.Count || sch.Values.Any(row => row.Count != sch.CacheSizes.Count)))
            yield return new(
                $"{place}, sch.values", "another shape", "one row for each segment, one column for each cache size");
    }

    private static IEnumerable<Fault> SequenceFaults(
        MeasuredSequence sequence, HashSet<string> subjects, IReadOnlyList<MeasuredTask> tasks)
    {
        if (sequence.Stages.Count < 2 || sequence.Stages.Count != sequence.Tasks.Count)
            yield return new(
                "sequences", $"{Words.Count(sequence.Stages.Count, "stage")} and "
                    + $"{Words.Count(sequence.Tasks.Count, "task")}", "at least two stages, and a task for each");
        else if (!sequence.Stages.All(subjects.Contains)
            || sequence.Tasks.Any(name => tasks.All(task => task.Name != name)))
            yield return new("sequences", "nothing that this file describes", "subjects and tasks of this file");
    }

    private static IEnumerable<double> Numbers(SubjectRouting routing) =>
        routing.Modules.SelectMany(module => (IEnumerable<double>)
            [
                .. module.Load, module.Entropy ?? 0, module.EffectiveSupportSize, module.ExpertsPerToken,
                module.TaskInformation ?? 0,
            ])
            .Concat(routing.Srp?.Values ?? []).Concat(routing.Sch?.Values.SelectMany(row => row) ?? [])
            .Concat(routing.TaskDistance?.SelectMany(row => row) ?? [])
            .Concat(routing.Similarity?.SelectMany(row => row) ?? []);

    private static Fault? CurveFault(string place, TrainingCurves curves)
    {
        if (curves.LoadChange.Any(change => change is not (>= 0 and <= LargestNumber)))
            return new($"{place}, training.load_change", "a number out of range", "numbers from 0 to 1");
        (string Name, int Count, int Expected)[] lengths =
        [
            (
                "loss", curves.Loss.Count, curves.Step.Count), ("aux", curves.Aux.Count, curves.Step.Count),
                ("lr", curves.Lr.Count, curves.Step.Count),
            ("tokens_per_second", curves.TokensPerSecond.Count, curves.Step.Count),
            (
                "routing_entropy", curves.RoutingEntropy.Count, curves.RoutingStep.Count),
                ("eval_loss", curves.EvalLoss.Count, curves.EvalStep.Count),
            ("load_change", curves.LoadChange.Count, curves.LoadStep.Count),
        ];
        return lengths.FirstOrDefault(length => length.Count != length.Expected) is { Name: not null } wrong
            ? new(
                $"{place}, training.{wrong.Name}", Words.Count(wrong.Count, "value"),
                $"{Words.Count(wrong.Expected, "value")}, one for each step")
            : null;
    }

    private static string? Twice(IEnumerable<string> names) =>
        names.GroupBy(name => name).FirstOrDefault(group => group.Count() > 1)?.Key;

    private static bool IsRectangular(IReadOnlyList<IReadOnlyList<double>> matrix) =>
        matrix.All(row => row.Count == matrix[0].Count);

    private static bool AreFinite(params ReadOnlySpan<double> values)
    {
        foreach (var value in values)
        {
            if (!double.IsFinite(value))
                return false;
        }
        return true;
    }
}
