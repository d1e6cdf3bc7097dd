using System.Globalization;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Formats;

namespace Peft.Evaluation;

/// <summary>A bound that every adapter has to meet on one metric of one task.</summary>
/// <param name="Task">The task.</param>
/// <param name="Metric">The metric.</param>
/// <param name="Bound">The least value; of metrics where lower is better the largest.</param>
public sealed record QualityGate(string Task, string Metric, double Bound)
{
    private const string Option = "--fail-under";

    /// <summary>Reads <c>task.metric=x</c>.</summary>
    /// <exception cref="UserException">The text has another form.</exception>
    public static QualityGate Parse(string text)
    {
        var equals = text.LastIndexOf('=');
        var dot = equals < 0 ? -1 : text.LastIndexOf('.', equals);
        return dot > 0 && equals > dot + 1
            && double.TryParse(text.AsSpan(equals + 1), NumberStyles.Float, CultureInfo.InvariantCulture, out var bound)
                && double.IsFinite(bound)
            ? new(text[..dot], text[(dot + 1)..equals], bound)
            : throw UserException.At(
                Option, Quote.Of(text), "TASK.METRIC=NUMBER", $"write for example {Option} sst2.accuracy=0.8");
    }

    /// <summary>Refuses a bound on what is not measured.</summary>
    /// <param name="measured">The tasks and metrics that are.</param>
    /// <exception cref="UserException">There is no such task or metric.</exception>
    public void Check(IReadOnlyList<(string Task, string Metric)> measured)
    {
        if (measured.Contains((Task, Metric)))
            return;
        var all = measured.Select(pair => $"{pair.Task}.{pair.Metric}").ToList();
        throw UserException.At(
            Option, $"{Task}.{Metric} is not measured", Words.OneOf(all),
            NearestName.Question($"{Task}.{Metric}", all));
    }

    /// <summary>What misses the bound, in words; of the base only where nothing else is measured.</summary>
    public IEnumerable<string> Failures(ResultsDocument results)
    {
        var judged = results.Subjects.Where(subject => subject.Kind == Subject.AdapterKind).ToList();
        var higher = Metrics.Metric.Named(Metric).HigherIsBetter;
        foreach (var subject in judged.Count > 0 ? judged : results.Subjects)
        {
            var value = results.ScoreOf(subject.Name, Task, Metric)!.Value;
            if (higher ? value < Bound : value > Bound)
                yield return FormattableString.Invariant(
                    $"{subject.Name}: {Task}.{Metric} is {value:F4}, {(higher ? "below" : "above")} the bound {Bound}");
        }
    }
}
