using System.Text.Json;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Training.Checkpoints;

/// <summary>What trainer_state.json holds: the numbers of a run that are not tensors.</summary>
/// <param name="State">Where the run stands.</param>
/// <param name="TotalSteps">Its length, which the learning rate depends on.</param>
/// <param name="Recipe">The recipe it was written by, less what may change.</param>
public sealed record TrainerStateFile(TrainingState State, int TotalSteps, string Recipe)
{
    /// <summary>The file's name.</summary>
    public const string Name = "trainer_state.json";

    private const int CurrentVersion = 1;

    private static readonly JsonSerializerOptions Json =
        new()
        {
            WriteIndented = true,
            PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
            RespectRequiredConstructorParameters = true,
            RespectNullableAnnotations = true,
        };

    /// <summary>The file in a checkpoint's directory.</summary>
    public static string PathIn(string checkpoint) => Path.Combine(checkpoint, Name);

    /// <summary>Writes the file.</summary>
    public static void Write(string checkpoint, TrainerStateFile file) => AtomicFile.WriteText(
        PathIn(checkpoint), JsonSerializer.Serialize(new Document(CurrentVersion, file), Json) + "\n");

    /// <summary>Reads the file.</summary>
    /// <exception cref="UserException">It is missing, damaged or of another version.</exception>
    public static TrainerStateFile Read(string checkpoint)
    {
        var path = PathIn(checkpoint);
        try
        {
            var text = File.ReadAllText(path);
            if (JsonSerializer.Deserialize<VersionOnly>(text, Json) is { FormatVersion: not CurrentVersion and var version })
                throw new UserException($"{path}: format {version}; this version reads format {CurrentVersion}");
            var document = JsonSerializer.Deserialize<Document>(text, Json);
            return document?.Trainer
                ?? throw new UserException($"{path}: holds no training state - resume from another checkpoint");
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new UserException($"{path}: cannot be read ({e.Message}) - resume from another checkpoint", e);
        }
    }

    /// <summary>Refuses to continue a checkpoint with a recipe that would have trained differently.</summary>
    /// <exception cref="UserException">The recipes differ; the lines that differ are named.</exception>
    public void RequireSameRecipe(string checkpoint, string recipe)
    {
        if (recipe == Recipe)
            return;
        var (then, now) = (Recipe.Split('\n'), recipe.Split('\n'));
        var before = then.Except(now).Select(l => $"  checkpoint: {l.Trim()}");
        var after = now.Except(then).Select(l => $"  recipe:     {l.Trim()}");
        throw new UserException(
            $"{checkpoint}: belongs to another recipe - continue with the recipe it was written by, or train anew with --overwrite\n" +
            string.Join('\n', before.Concat(after).DefaultIfEmpty("  the same lines in another order").Take(20)));
    }

    private sealed record VersionOnly(int FormatVersion);

    private sealed record Document(int FormatVersion, TrainerStateFile Trainer);
}
