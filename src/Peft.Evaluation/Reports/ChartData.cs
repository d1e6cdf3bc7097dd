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

    private const int MostSteps = 5; // of an axis: their labels fit beside each other on a telephone

    private const double Rounding = 1e-9; // a quotient of two decimal fractions that should be whole

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
                Axis = AxisOf(results, task.Main),
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
            }),
            Routing = results.Routing.Select(routing => new
            {
                Layers = RoutingWriter.Layers(routing).Select(layer => new { layer.Layer, Load = Rounded(layer.Load) }),
                routing.Tasks,
                ByTask = routing.ExpertByTask?.Matrix.Select(Rounded),
                Similarity = routing.Similarity?.Select(Rounded),
                TaskDistance = routing.TaskDistance?.Select(Rounded),
            }),
            Profiles = RouterProfiles.Of(results).Select(profile => new
            {
                profile.Across,
                profile.High,
                Curves = profile.Curves.Select(
                    curve => new { curve.Subject, X = Rounded(curve.X), Y = Rounded(curve.Y) }),
            }),
        },
        Safe);

    // Metrics of one kind have one axis: rates and scores that stay below 1 go up to 1, others up to the largest of
    // their name. It ends at a round number, as its steps do.
    private static object AxisOf(ResultsDocument results, TaskMetric metric)
    {
        var scores = (
            from task in results.Tasks
            where task.Main.Name == metric.Name
            from subject in results.Subjects
            let score = results.ScoreOf(subject.Name, task.Name, task.Main.Name)
            where score is not null
            select score).ToList();
        var high = scores.Select(score => Math.Max(score.Value, score.High ?? score.Value)).Append(0).Max();
        var low = scores.Select(score => Math.Min(score.Value, score.Low ?? score.Value)).Append(0).Min();
        if (scores.Count == 0 || metric.Unit is "rate" or "score" && high <= 1)
            high = 1;
        var step = Step(high - low);
        return new
        {
            Low = Math.Round(step * Math.Floor(low / step + Rounding), Digits),
            High = Math.Round(step * Math.Ceiling(high / step - Rounding), Digits),
            Step = step,
        };
    }

    // 1, 2, 2.5 or 5 times a power of ten, four or five of them over the range.
    private static double Step(double range)
    {
        if (range <= 0)
            return 1;
        var least = range / MostSteps;
        var power = Math.Pow(10, Math.Floor(Math.Log10(least)));
        return ((double[])[1, 2, 2.5, 5, 10]).First(factor => factor * power >= least * (1 - Rounding)) * power;
    }

    private static IEnumerable<double> Rounded(IReadOnlyList<double> values) =>
        values.Select(value => Math.Round(value, Digits));
}
