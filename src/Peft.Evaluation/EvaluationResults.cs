using System.Text.Json;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Evaluation;

/// <summary>One task's number.</summary>
/// <param name="Task">Name of the task.</param>
/// <param name="Metric">Name of the metric.</param>
/// <param name="HigherIsBetter">Whether larger values are better.</param>
/// <param name="Value">The value.</param>
/// <param name="Rows">Rows it was measured on.</param>
public sealed record TaskResult(string Task, string Metric, bool HigherIsBetter, double Value, int Rows);

/// <summary>What one model came to on the tasks of a recipe.</summary>
/// <param name="Model">What was measured, in words.</param>
/// <param name="TrainableParameters">Parameters that were trained.</param>
/// <param name="Tasks">The numbers.</param>
public sealed record EvaluationResults(string Model, long TrainableParameters, IReadOnlyList<TaskResult> Tasks)
{
    private const int CurrentVersion = 1;

    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
    };

    /// <summary>Writes the results as JSON, atomically.</summary>
    public void Save(string path) => AtomicFile.WriteText(
        path, JsonSerializer.Serialize(new Document(CurrentVersion, Model, TrainableParameters, Tasks), Json) + "\n");

    /// <summary>Reads results that <see cref="Save"/> wrote.</summary>
    /// <exception cref="UserException">The file is missing, cut short or of another version.</exception>
    public static EvaluationResults Load(string path)
    {
        if (!File.Exists(path))
            throw new UserException($"{path}: no such file - evaluation results are written as evaluation.json beside a bundle");
        try
        {
            var document = JsonSerializer.Deserialize<Document>(File.ReadAllText(path), Json);
            if (document is not { Tasks: not null, Model: not null })
                throw new UserException($"{path}: no tasks found - this is not a results file");
            if (document.FormatVersion != CurrentVersion)
                throw new UserException(
                    $"{path}: results of format {document.FormatVersion}; this version reads format {CurrentVersion}");
            return new(document.Model, document.TrainableParameters, document.Tasks);
        }
        catch (JsonException e)
        {
            throw new UserException($"{path}: not a results file ({e.Message}) - it may have been cut short", e);
        }
    }

    private sealed record Document(
        int FormatVersion, string Model, long TrainableParameters, IReadOnlyList<TaskResult> Tasks);
}
