using System.Text.Json;
using Peft.Evaluation;

namespace Peft.Cli.Printing;

/// <summary>Results of several models as one JSON object.</summary>
public static class ResultsJson
{
    private static readonly JsonSerializerOptions SnakeCase = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>The object, on one line.</summary>
    public static string Of(IReadOnlyList<(string Name, EvaluationResults Results)> columns) => JsonSerializer.Serialize(
        new { models = columns.Select(c => new { c.Name, c.Results.TrainableParameters, c.Results.Tasks }) }, SnakeCase);
}
