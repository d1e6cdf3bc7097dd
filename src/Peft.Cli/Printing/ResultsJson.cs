using System.Text.Json;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;

namespace Peft.Cli.Printing;

/// <summary>The main metrics of several models as one JSON object.</summary>
public static class ResultsJson
{
    private static readonly JsonSerializerOptions SnakeCase = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>The object, on one line.</summary>
    public static string Of(ResultsDocument results) => JsonSerializer.Serialize(
        new
        {
            models = results.Subjects.Select(subject => new
            {
                subject.Name,
                subject.TrainableParameters,
                Tasks =
                    from task in results.Tasks
                    let score = results.ScoreOf(subject.Name, task.Name, task.Main.Name)
                    where score is not null
                    select new { Task = task.Name, Metric = task.Main.Name, task.Main.HigherIsBetter, score.Value, score.Rows },
            }),
        },
        SnakeCase);
}
