using System.Text.Json;
using Peft.Evaluation.Metrics;
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
    /// <summary>What the file is called beside a bundle.</summary>
    public const string FileName = "evaluation.json";

    private const int CurrentVersion = 1;
    private const long LargestFile = 16L << 20; // bytes; a task takes some hundred

    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        AllowDuplicateProperties = false,
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
            var document = JsonSerializer.Deserialize<Document>(Text(path), Json);
            if (document is not null && document.FormatVersion > CurrentVersion)
                throw new UserException(
                    $"{path}: results of format {document.FormatVersion}; this version reads format {CurrentVersion}");
            if (document is not { FormatVersion: CurrentVersion, Model: not null, Tasks: { } tasks }
                || !tasks.All(task => task is { Task: not null, Metric: not null }))
                throw new UserException($"{path}: no tasks found - this is not a results file");
            if (document.TrainableParameters < 0 || tasks.FirstOrDefault(task => task.Rows < 0 || !double.IsFinite(task.Value)) is not null)
                throw new UserException($"{path}: a number out of range - rows and parameters from 0, values finite - make the results again");
            return new(document.Model, document.TrainableParameters, tasks);
        }
        catch (JsonException e)
        {
            throw new UserException($"{path}: not a results file ({JsonFile.Reason(e)}) - it may have been cut short", e);
        }
    }

    // Some editors put a byte order mark before the text.
    private static ReadOnlySpan<byte> Text(string path)
    {
        ReadOnlySpan<byte> bytes = BoundedFile.ReadAllBytes(path, LargestFile);
        return bytes.StartsWith("\uFEFF"u8) ? bytes[3..] : bytes;
    }

    private sealed record Document(
        int FormatVersion, string Model, long TrainableParameters, IReadOnlyList<TaskResult> Tasks);
}
