using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Peft.Evaluation.Results;
using Peft.Evaluation.Statistics;
using Peft.Formats;
using Peft.Models.Loading;

namespace Peft.Evaluation.Reports;

/// <summary>
/// Results become what templates can ask for: everything decided and worded here, so that templates only place it.
/// </summary>
public static class ReportBuilder
{
    private const int Shown = 12; // points of a curve in a table
    /// <summary>The report's model.</summary>
    /// <param name="results">What was measured.</param>
    /// <param name="examples">Some rows, a task; empty where the rows do not lie beside the results.</param>
    /// <param name="notes">What joining and reading noticed.</param>
    public static ReportModel Build(
        ResultsDocument results, IReadOnlyList<ReportExamples> examples, IReadOnlyList<string> notes)
    {
        var colors = ChartData.Colors(results);
        var subjects = results.Subjects.Select((subject, index) => SubjectOf(subject, index, colors[index])).ToList();
        var adapters = subjects.Where(s => s is { IsBase: false, IsRecorded: false }).ToList();
        var tasks = results.Tasks.Select((task, index) => TaskOf(results, task, index)).ToList();
        var comparisons = ComparisonWriter.Of(results);
        return new(
            TitleOf(adapters, results), ReportText.When(results.Created), results.PeftVersion, results.Base.Name,
            CheckpointFingerprint.Short(results.Base.Fingerprint),
            results.Settings.Dtype, results.Settings.Seed, results.Settings.BootstrapSamples,
            ReportText.Percent(results.Settings.Confidence),
            results.Settings.Correction == "none" ? "no correction" : VerdictWriter.CorrectionOf(results),
            VerdictWriter.Of(results), subjects, adapters,
            [.. adapters.Where(adapter => adapter.Fingerprint.Length > 0)], tasks,
            [.. comparisons.Where(c => c.IsMain).Select(c => c.Text)],
            [.. comparisons.Where(c => !c.IsMain).Select(c => c.Text)],
            RecipeKeys.Changes([.. adapters.Select(s => s.Recipe)]),
            [.. results.Subjects.Select(TrainingOf).OfType<ReportTraining>()],
            [.. results.Routing.Select((routing, index) => RoutingWriter.Of(routing, index))],
            RouterWriter.Of(results, colors), [.. results.Sequences.Select(one => SequenceOf(results, one))], examples,
            Notes(results, notes),
            ReportGlossary.Terms, ReportGlossary.Of(results), ChartData.Json(results));
    }

    private static ReportSubject SubjectOf(Subject subject, int index, int color)
    {
        var (isBase, isRecorded) = (subject.Kind == Subject.BaseKind, subject.Kind == Subject.RecordedKind);
        var recipe = RecipeKeys.Of(subject);
        return new(
            subject.Name, index, color, isBase, isRecorded,
            isBase
                ? "no adapter"
                : isRecorded
                    ? "recorded earlier"
                    : (subject.Method ?? "adapter") + (subject.Router is { } router ? $", {router} router" : ""),
            subject.Method ?? "", subject.Router ?? "", subject.Path,
            CheckpointFingerprint.Short(subject.Fingerprint ?? ""), ReportText.When(subject.Written),
            subject.TrainableParameters,
            isBase ? ReportText.Dash : ReportText.Count(subject.TrainableParameters),
            ReportText.Seconds(subject.StepSeconds),
            ReportText.Memory(subject.PeakMemoryBytes), ReportText.Seconds(subject.EvaluationSeconds), recipe,
            [
                .. recipe.Where(
                    v => v.Key.StartsWith("adapter.", StringComparison.Ordinal)
                        || v.Key.StartsWith("training.", StringComparison.Ordinal)),
            ]);
    }

    private static ReportTask TaskOf(ResultsDocument results, MeasuredTask task, int index) => new(
        task.Name, ReportText.Words(task.Kind), task.Data, task.Rows, task.Shots, task.Truncated, task.Ties, index,
        ReportText.Words(task.Main.Name), ReportGlossary.OfMetric(task.Main.Name),
        [
            .. task.Metrics.OrderByDescending(metric => metric == task.Main)
                .Select(metric => MetricOf(results, task, metric)),
        ]);

    private static ReportMetric MetricOf(ResultsDocument results, MeasuredTask task, TaskMetric metric)
    {
        var scores = results.Subjects.Select(s => results.ScoreOf(s.Name, task.Name, metric.Name)).ToList();
        var values = scores.OfType<Score>().Select(s => s.Value).ToList();
        double? best = values.Distinct().Count() < 2 ? null : metric.HigherIsBetter ? values.Max() : values.Min();
        var reference = results.Subjects.FirstOrDefault(s => s.Kind == Subject.BaseKind) ?? results.Subjects[0];
        return new(
            task.Name, metric.Name, ReportText.Words(metric.Name), ReportGlossary.OfMetric(metric.Name),
            metric == task.Main, metric.HigherIsBetter,
            metric.HigherIsBetter ? "higher is better" : "lower is better", metric.Unit,
            values.Count == 0 ? 0 : scores.OfType<Score>().Max(s => s.Rows),
            [
                .. results.Subjects.Zip(scores)
                    .Select(
                        pair => CellOf(results, task.Name, metric, pair.First.Name, pair.Second, best, reference.Name)),
            ]);
    }

    private static ReportCell CellOf(
        ResultsDocument results, string task, TaskMetric metric, string subject, Score? score, double? best,
        string reference)
    {
        if (score is null)
            return new(subject, false, 0, ReportText.Dash, "", false, false, "", "not measured");
        var others = results.Subjects.Where(
            s => s.Name != subject && results.ScoreOf(s.Name, task, metric.Name) is not null).ToList();
        var isBest = score.Value == best;
        var isClear = isBest && others.All(
            other => Better(results.ComparisonOf(task, metric.Name, other.Name, subject), metric) == subject);
        var comparison = subject == reference ? null : results.ComparisonOf(task, metric.Name, reference, subject);
        var better = Better(comparison, metric);
        var (mark, words) = comparison is null ? ("", "")
            : better == subject ? ("better", $"significantly better than {reference}")
            : better == reference ? ("worse", $"significantly worse than {reference}")
            : RowCheck.IsTooFew(results, comparison) ? ("same", $"too few rows to tell from {reference}")
            : ("same", $"no significant difference from {reference}");
        return new(
            subject, true, score.Value, ReportText.Number(score.Value),
            score is { Low: { } low, High: { } high } ? ReportText.Interval(low, high) : "", isBest, isClear, mark,
            words);
    }

    /// <summary>The better one of a comparison whose difference is real, else null.</summary>
    internal static string? Better(Comparison? comparison, TaskMetric metric) =>
        comparison is not { Significant: true } || comparison.Difference == 0 ? null
        : comparison.Difference > 0 == metric.HigherIsBetter ? comparison.B : comparison.A;

    private static ReportSequence SequenceOf(ResultsDocument results, MeasuredSequence sequence)
    {
        var forgetting = new Forgetting(results, sequence);
        var places = Enumerable.Range(0, forgetting.Count).ToList();
        return new(
            sequence.Tasks,
            [.. places.Select(stage => new ReportRow(
                sequence.Stages[stage], [.. places.Select(task => Text(forgetting.Score(stage, task)))]))],
            [.. places.Select(task => Text(forgetting.Forgotten(task)))], Text(forgetting.Mean),
            Text(forgetting.BackwardTransfer));

        static string Text(double? value) => value is { } known ? ReportText.Number(known) : ReportText.Dash;
    }

    private static ReportTraining? TrainingOf(Subject subject)
    {
        if (subject.Training is not { Step.Count: > 0 } curves)
            return null;
        return new(
            subject.Name, ReportText.Number(curves.Loss[0]), ReportText.Number(curves.Loss[^1]),
            [.. Thinned(curves.Step.Count).Select(i => new TrainingPoint(
                curves.Step[i], ReportText.Number(curves.Loss[i]), ReportText.Number(curves.Aux[i]),
                ReportText.Small(curves.Lr[i]),
                ReportText.Count((long)curves.TokensPerSecond[i])))],
            [
                .. Thinned(curves.EvalStep.Count)
                    .Select(i => new CurvePoint(curves.EvalStep[i], ReportText.Number(curves.EvalLoss[i]))),
            ]);
    }

    /// <summary>Places in a list of which a table shows some: the first, the last, and some between at even
    /// distances.</summary>
    internal static IEnumerable<int> Thinned(int count, bool all = false) => all || count <= Shown
        ? Enumerable.Range(0, count)
        : Enumerable.Range(0, Shown).Select(i => (int)Math.Round(i * (count - 1) / (double)(Shown - 1)));

    private static List<string> Notes(ResultsDocument results, IReadOnlyList<string> notes)
    {
        List<string> all = [.. notes];
        all.AddRange(results.Tasks.Where(t => t.Truncated > 0).Select(t =>
            $"{t.Name}: {t.Truncated} of {Words.Count(t.Rows, "row")} {(t.Truncated == 1 ? "was" : "were")} longer "
                + "than the context and cut from the left."));
        all.AddRange(results.Tasks.Where(t => t.Ties > 0).Select(t => $"{t.Name}: {t.Ties} of "
            + $"{Words.Count(t.Rows, "row")} had several choices of the same score; the first one counts."));
        all.AddRange(results.Subjects.Where(s => s.Kind == Subject.RecordedKind).Select(s =>
            $"{s.Name} was recorded earlier ({s.Path}): its values are shown, but its rows are not at hand, so no "
                + "difference from it is tested."));
        return all;
    }

    private static string TitleOf(List<ReportSubject> adapters, ResultsDocument results) => adapters.Count switch
    {
        0 => results.Base.Name,
        1 => adapters[0].Name,
        <= 3 => string.Join(" · ", adapters.Select(a => a.Name)),
        _ => $"{adapters.Count} adapters",
    };
}

/// <summary>Recipes as flat lists of keys, and what differs between them.</summary>
internal static class RecipeKeys
{
    private const int LongestValue = 120; // characters
    private static readonly JsonSerializerOptions Plain = new()
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>
    /// Every key with a value, by dotted path, in the order of the recipe; lists of plain values stay together.
    /// </summary>
    public static IReadOnlyList<RecipeValue> Of(Subject subject)
    {
        var keys = new List<RecipeValue>();
        if (subject.Recipe is { ValueKind: JsonValueKind.Object } recipe)
            Add(recipe, "", keys);
        return keys;
    }

    /// <summary>Keys whose values differ between recipes; where the result goes is not one of them.</summary>
    public static IReadOnlyList<RecipeChange> Changes(IReadOnlyList<IReadOnlyList<RecipeValue>> recipes)
    {
        if (recipes.Count < 2 || recipes.Any(recipe => recipe.Count == 0))
            return [];
        var values = recipes.Select(recipe => recipe.DistinctBy(v => v.Key).ToDictionary(v => v.Key, v => v.Value))
            .ToList();
        return [.. recipes.SelectMany(recipe => recipe.Select(v => v.Key)).Distinct()
            .Where(key => key != "output_dir")
            .Select(key => new RecipeChange(key, [.. values.Select(v => v.GetValueOrDefault(key, ReportText.Dash))]))
            .Where(change => change.Values.Distinct().Count() > 1)];
    }

    private static void Add(JsonElement node, string path, List<RecipeValue> keys)
    {
        if (node.ValueKind == JsonValueKind.Object && node.EnumerateObject().Any())
        {
            foreach (var property in node.EnumerateObject())
                Add(property.Value, path.Length == 0 ? property.Name : $"{path}.{property.Name}", keys);
        }
        else if (
            node.ValueKind == JsonValueKind.Array
                && node.EnumerateArray().Any(item => item.ValueKind == JsonValueKind.Object))
        {
            foreach (var (i, item) in node.EnumerateArray().Index())
                Add(item, $"{path}[{i}]", keys);
        }
        else if (node.ValueKind != JsonValueKind.Null)
        {
            keys.Add(new(path, ReportText.Cut(
                node.ValueKind == JsonValueKind.String ? node.GetString()! : JsonSerializer.Serialize(node, Plain),
                LongestValue)));
        }
    }
}
