using System.Text.Json;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;

namespace Peft.Evaluation.Reports;

/// <summary>Data of the charts, for the script of the page.</summary>
internal static class ChartData
{
    // The default encoder writes <, >, & and quotes as \u003C ...: no text can end the script element.
    private static readonly JsonSerializerOptions Safe = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
    };

    private const int Digits = 5; // more than a picture shows

    private const int AdapterColors = 7; // colours that can be told apart; then they begin again

    /// <summary>Number of each subject's colour: 0 the base, 1 to 7 the adapters.</summary>
    public static IReadOnlyList<int> Colors(ResultsDocument results)
    {
        var adapters = 0;
        return [.. results.Subjects.Select(s => s.Kind == Subject.BaseKind ? 0 : 1 + adapters++ % AdapterColors)];
    }

    /// <summary>The JSON.</summary>
    public static string Json(ResultsDocument results) => JsonSerializer.Serialize(
        new
        {
            Subjects = results.Subjects.Zip(Colors(results)).Select(s => new { s.First.Name, Color = s.Second }),
            Bars = results.Tasks.Select(task => new
            {
                Task = task.Name,
                Metric = ReportText.Words(task.Main.Name),
                Higher = task.Main.HigherIsBetter,
                Most = MostOfKind(results, task.Main),
                Scores = results.Subjects.Select(s => results.ScoreOf(s.Name, task.Name, task.Main.Name))
                    .Select(s => s is null ? null : new[] { s.Value, s.Low, s.High }),
            }),
            Training = results.Subjects.Index().Where(s => s.Item.Training is { Step.Count: > 0 }).Select(s => new
            {
                Subject = s.Index,
                s.Item.Training!.Step,
                Loss = Rounded(s.Item.Training.Loss),
                s.Item.Training.EvalStep,
                EvalLoss = Rounded(s.Item.Training.EvalLoss),
                s.Item.Training.RoutingStep,
                RoutingEntropy = Rounded(s.Item.Training.RoutingEntropy),
            }),
            Routing = results.Routing.Select(routing => new
            {
                Layers = RoutingWriter.Layers(routing).Select(layer => new { layer.Layer, Load = Rounded(layer.Load) }),
                routing.Tasks,
                ByTask = routing.ExpertByTask?.Matrix.Select(Rounded),
                Similarity = routing.Similarity?.Select(Rounded),
            }),
        },
        Safe);

    // Metrics of one kind have one axis: rates and scores that stay below 1 go up to 1, others up to the largest of
    // their name.
    private static double MostOfKind(ResultsDocument results, TaskMetric metric)
    {
        double Most(Func<TaskMetric, bool> isOfKind) =>
        (
            from task in results.Tasks
            where isOfKind(task.Main)
            from subject in results.Subjects
            let score = results.ScoreOf(subject.Name, task.Name, task.Main.Name)
            where score is not null
            select Math.Max(score.Value, score.High ?? score.Value)).DefaultIfEmpty(1).Max();
        var own = Most(other => other.Name == metric.Name);
        return metric.Unit is "rate" or "score" && own <= 1 ? 1 : Math.Round(own, Digits);
    }

    private static IEnumerable<double> Rounded(IReadOnlyList<double> values) =>
        values.Select(value => Math.Round(value, Digits));
}
