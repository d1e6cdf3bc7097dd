using System.Globalization;
using Peft.Evaluation.Metrics;
using Peft.Formats;

namespace Peft.Evaluation.Results;

/// <summary>Whether results agree with themselves: names, lengths and ranges.</summary>
internal static class ResultsCheck
{
    /// <summary>The first contradiction in words, or null.</summary>
    public static string? FirstFault(ResultsDocument results) => Faults(results).FirstOrDefault();

    private static IEnumerable<string> Faults(ResultsDocument results)
    {
        var subjects = results.Subjects.Select(s => s.Name).ToHashSet(StringComparer.Ordinal);
        if (results.Subjects.Count == 0)
            yield return "subjects: empty - at least one";
        if (subjects.Count < results.Subjects.Count)
            yield return "subjects: two of one name - names that differ";
        foreach (var subject in results.Subjects)
        {
            if (subject.Kind is not (Subject.BaseKind or Subject.AdapterKind))
                yield return $"subject {Quote.Of(subject.Name)}: kind {Quote.Of(subject.Kind)} - {Subject.BaseKind} or {Subject.AdapterKind}";
            if (subject.Training is { } curves && CurveFault(curves) is { } fault)
                yield return $"subject {Quote.Of(subject.Name)}: training.{fault}";
        }
        if (results.Settings.Confidence is not (> 0 and < 1))
            yield return $"settings.confidence: {results.Settings.Confidence} - a number between 0 and 1";
        if (results.Settings.Correction is not ("holm" or "none"))
            yield return $"settings.correction: {Quote.Of(results.Settings.Correction)} - holm or none";
        var tasks = results.Tasks.Select(t => t.Name).ToHashSet(StringComparer.Ordinal);
        if (tasks.Count < results.Tasks.Count)
            yield return "tasks: two of one name - names that differ";
        foreach (var task in results.Tasks.Where(t => t.Metrics.Count == 0))
            yield return $"task {Quote.Of(task.Name)}: no metrics - at least one";
        var metrics = results.Tasks.SelectMany(t => t.Metrics.Select(m => (t.Name, m.Name))).ToHashSet();
        foreach (var score in results.Scores)
        {
            if (!subjects.Contains(score.Subject) || !metrics.Contains((score.Task, score.Metric)))
                yield return $"score of {Quote.Of(score.Subject)} on {Quote.Of(score.Task)} by {Quote.Of(score.Metric)} - a subject, task and metric of this file";
            if (!AreFinite(score.Value, score.Low, score.High))
                yield return $"score of {Quote.Of(score.Subject)} on {Quote.Of(score.Task)}: not a finite number";
        }
        foreach (var c in results.Comparisons)
        {
            if (!subjects.Contains(c.A) || !subjects.Contains(c.B) || !metrics.Contains((c.Task, c.Metric)))
                yield return $"comparison of {Quote.Of(c.A)} and {Quote.Of(c.B)} on {Quote.Of(c.Task)} by {Quote.Of(c.Metric)} - subjects, a task and a metric of this file";
            if (!AreFinite(c.Difference, c.Low, c.High) || c.P is not (>= 0 and <= 1) || c.PAdjusted is not (>= 0 and <= 1))
                yield return $"comparison of {Quote.Of(c.A)} and {Quote.Of(c.B)} on {Quote.Of(c.Task)}: finite numbers, p values from 0 to 1";
        }
        foreach (var fault in results.Routing.SelectMany(r => RoutingFaults(r, subjects)))
            yield return fault;
    }

    private static IEnumerable<string> RoutingFaults(SubjectRouting routing, HashSet<string> subjects)
    {
        var place = $"routing of {Quote.Of(routing.Subject)}";
        if (!subjects.Contains(routing.Subject))
            yield return $"{place}: a subject of this file";
        if (routing.ExpertByTask is { } matrix && (matrix.Matrix.Count != routing.Tasks.Count || !IsRectangular(matrix.Matrix)))
            yield return $"{place}: expert_by_task.matrix - one row a task ({routing.Tasks.Count}), all of one length";
        if (routing.Similarity is { } cosines && (!IsRectangular(cosines) || cosines.Count > 0 && cosines[0].Count != cosines.Count))
            yield return $"{place}: similarity - a square matrix";
        if (routing.Srp is { } srp && srp.Segments.Count != srp.Values.Count)
            yield return $"{place}: srp - as many values as segments";
        if (routing.Sch is { } sch && (sch.Values.Count != sch.Segments.Count || sch.Values.Any(row => row.Count != sch.CacheSizes.Count)))
            yield return $"{place}: sch.values - one row a segment, one column a cache size";
    }

    private static string? CurveFault(TrainingCurves curves)
    {
        var steps = curves.Step.Count;
        foreach (var (name, count) in new[] { ("loss", curves.Loss.Count), ("aux", curves.Aux.Count), ("lr", curves.Lr.Count), ("tokens_per_second", curves.TokensPerSecond.Count) })
        {
            if (count != steps)
                return string.Create(CultureInfo.InvariantCulture, $"{name}: {count} values - {steps}, one a step");
        }
        return curves.RoutingEntropy.Count == curves.RoutingStep.Count ? null : "routing_entropy: as many values as routing_step";
    }

    private static bool IsRectangular(IReadOnlyList<IReadOnlyList<double>> matrix) => matrix.All(row => row.Count == matrix[0].Count);

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
