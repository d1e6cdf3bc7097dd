using System.Text.Json;
using Peft.Data.Batches;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Training.Checkpoints;

/// <summary>Where a run stands after a step; with the tensors, all that an exact continuation needs.</summary>
/// <param name="Step">Optimizer steps done.</param>
/// <param name="Data">Position in the training data.</param>
/// <param name="BestStep">Step of the best evaluation.</param>
/// <param name="BestEvalLoss">Its loss.</param>
/// <param name="EvaluationsWithoutGain">Evaluations since then.</param>
/// <param name="StoppedEarly">Whether early stopping ended the run.</param>
/// <param name="SkippedSteps">Steps that were not applied because a number in them was not finite.</param>
/// <param name="SkippedInARow">How many of them since the last step that was applied.</param>
/// <param name="EvaluationDue">Whether the evaluation after this step was stopped, and is to be made first.</param>
public sealed record TrainingState(
    int Step, BatchStreamState? Data, int? BestStep, double? BestEvalLoss, int EvaluationsWithoutGain,
    bool StoppedEarly,
    int SkippedSteps = 0, int SkippedInARow = 0, bool EvaluationDue = false)
{
    /// <summary>Before the first step.</summary>
    public static TrainingState Start { get; } = new(0, null, null, null, 0, false);
}

/// <summary>What trainer_state.json holds: the numbers of a run that are not tensors.</summary>
/// <param name="State">Where the run stands.</param>
/// <param name="TotalSteps">Its length, which the learning rate depends on.</param>
/// <param name="Recipe">The recipe it was written by, less what may change.</param>
/// <param name="Inputs">Hashes of what the recipe names beside base and data, by what it is; null in checkpoints of
/// releases that wrote none.</param>
public sealed record TrainerStateFile(
    TrainingState State, int TotalSteps, string Recipe, IReadOnlyDictionary<string, string>? Inputs = null)
{
    /// <summary>The file's name.</summary>
    public const string Name = "trainer_state.json";

    private const int CurrentVersion = 1;
    private const string Repair = "resume from another checkpoint";
    private const long LargestFile = 16L << 20; // bytes; it holds a recipe and some numbers

    private static readonly JsonSerializerOptions Json =
        new()
        {
            WriteIndented = true,
            PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
            RespectRequiredConstructorParameters = true,
            RespectNullableAnnotations = true,
            AllowDuplicateProperties = false,
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
            var text = BoundedFile.ReadAllBytes(path, LargestFile).AsSpan();
            if (text.StartsWith("\uFEFF"u8))
                text = text[3..];
            if (JsonSerializer.Deserialize<VersionOnly>(text, Json)
                is { FormatVersion: not CurrentVersion and var version })
                throw UserException.At(path, $"format {version}", $"format {CurrentVersion}, which this version reads");
            var document = JsonSerializer.Deserialize<Document>(text, Json);
            var file = document?.Trainer ?? throw UserException.At(path, "holds no training state", advice: Repair);
            file.RequireInRange(path);
            return file;
        }
        catch (JsonException e)
        {
            throw UserException.At(path, $"cannot be read ({JsonFile.Reason(e)})", advice: Repair, inner: e);
        }
    }

    /// <summary>Refuses to continue a checkpoint with a recipe that would have trained differently.</summary>
    /// <exception cref="UserException">The recipes differ; the lines that differ are named.</exception>
    public void RequireSameRecipe(string checkpoint, string recipe)
    {
        var (then, now) = (Settings(Recipe), Settings(recipe));
        if (then.SetEquals(now))
            return;
        var before = then.Except(now).Order(StringComparer.Ordinal).Select(setting => $"  checkpoint: {setting}");
        var after = now.Except(then).Order(StringComparer.Ordinal).Select(setting => $"  recipe:     {setting}");
        throw new UserException(
            Fault.Text(checkpoint, "written by another recipe",
                advice: "continue with that recipe, or train again with --overwrite") + "\n" +
            string.Join('\n', before.Concat(after).Take(20)));
    }

    /// <summary>Refuses to continue a checkpoint with files that would have trained differently.</summary>
    /// <param name="checkpoint">The checkpoint.</param>
    /// <param name="inputs">Hashes of what is there now.</param>
    /// <exception cref="UserException">One is another.</exception>
    public void RequireSameInputs(string checkpoint, IReadOnlyDictionary<string, string> inputs)
    {
        foreach (var (what, hash) in Inputs ?? new Dictionary<string, string>())
        {
            if (inputs.TryGetValue(what, out var now) && now != hash)
                throw UserException.At(
                    checkpoint, $"written with another {what} than is there now", "the same files",
                    "put those back, or train again with --overwrite");
        }
    }

    // "adapter.r: 8" for every key that has a value: their order, and keys that say nothing, may change with the
    // version.
    private static HashSet<string> Settings(string yaml)
    {
        var settings = new HashSet<string>(StringComparer.Ordinal);
        var path = new List<(int Indent, string Key)>();
        var items = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var line in yaml.Split('\n'))
        {
            var text = line.TrimStart(' ');
            var indent = line.Length - text.Length;
            var isItem = text.StartsWith("- ", StringComparison.Ordinal);
            // The list of an item may stand at the item's own indent.
            path.RemoveAll(part => part.Indent > indent || part.Indent == indent && (!isItem || part.Key[0] == '['));
            if (isItem)
            {
                path.Add((indent, $"[{Next(Parent())}]"));
                text = text[2..];
                indent += 2;
            }

            var parent = Parent();
            var colon = text.IndexOf(": ", StringComparison.Ordinal);
            if (text.EndsWith(':'))
                path.Add((indent, text[..^1]));
            else if (text.Length > 0 && (colon < 0 || text[(colon + 2)..] is not ("null" or "[]" or "{}")))
            {
                // In these the first that matches counts, or each may use those before it.
                var isOrdered = path.Count > 0 && path[^1].Key is "columns" or "rank_pattern" or "alpha_pattern";
                var place = isOrdered ? Next(parent) : -1;
                settings.Add($"{parent}{(parent.Length > 0 ? "." : "")}{(place > 0 ? $"[{place}] " : "")}{text}");
            }
        }

        return settings;

        string Parent() => string.Join('.', path.Select(part => part.Key));
        int Next(string list) => items[list] = items.GetValueOrDefault(list, -1) + 1;
    }

    // A number out of range would otherwise be met as an index somewhere.
    private void RequireInRange(string path)
    {
        var faults = new Faults();
        if (TotalSteps < 1)
            faults.Add("total_steps", $"{TotalSteps}", "at least 1", Repair);
        if (State.Step < 0 || State.Step > TotalSteps)
            faults.Add("step", $"{State.Step}", $"a number from 0 to total_steps, which is {TotalSteps}", Repair);
        if (State.BestStep is { } best && (best < 0 || best > State.Step))
            faults.Add("best_step", $"{best}", $"a number from 0 to step, which is {State.Step}", Repair);
        if (State.EvaluationsWithoutGain < 0)
            faults.Add("evaluations_without_gain", $"{State.EvaluationsWithoutGain}", "at least 0", Repair);
        if (State.BestEvalLoss is { } loss && !double.IsFinite(loss))
            faults.Add("best_eval_loss", $"{loss}", "a finite number", Repair);
        faults.ThrowIfAny(path);
    }

    private sealed record VersionOnly(int FormatVersion);

    private sealed record Document(int FormatVersion, TrainerStateFile Trainer);
}
