using Peft.Evaluation.Results;

namespace Peft.Evaluation.Reports;

/// <summary>Paired differences in words.</summary>
internal static class ComparisonWriter
{
    /// <summary>All of them: adapters with each other before those with the base, in the order of the tasks.</summary>
    public static IReadOnlyList<(ReportComparison Text, bool IsMain)> Of(ResultsDocument results)
    {
        var bases = results.Subjects.Where(s => s.Kind == Subject.BaseKind).Select(s => s.Name).ToHashSet();
        var order = results.Tasks.Index().ToDictionary(t => t.Item.Name, t => t.Index);
        return [.. results.Comparisons
            .OrderBy(c => bases.Contains(c.A) || bases.Contains(c.B))
            .ThenBy(c => order[c.Task])
            .Select(c => Of(c, results.Tasks[order[c.Task]]))];
    }

    private static (ReportComparison, bool) Of(Comparison c, MeasuredTask task)
    {
        var metric = task.Metrics.First(m => m.Name == c.Metric);
        var better = ReportBuilder.Better(c, metric);
        return (new(
            c.Task, c.Metric, ReportText.Words(c.Metric), c.A, c.B, ReportText.Signed(c.Difference), ReportText.Interval(c.Low, c.High),
            ReportText.P(c.P), ReportText.P(c.PAdjusted), better is not null, better ?? "", better is null ? "no real difference" : $"{better} is better"),
            metric == task.Main);
    }
}
