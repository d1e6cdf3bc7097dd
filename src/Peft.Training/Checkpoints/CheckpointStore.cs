using System.Globalization;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Models.Loading;

namespace Peft.Training.Checkpoints;

/// <summary>A model that a checkpoint holds, bit for bit.</summary>
public interface ICheckpointed
{
    /// <summary>Writes the model into a directory, exactly.</summary>
    void SaveExactly(string directory);

    /// <summary>Reads back what <see cref="SaveExactly"/> wrote.</summary>
    void Restore(string directory);
}

/// <summary>A checkpoint on disk.</summary>
/// <param name="Step">Optimizer steps done when it was written.</param>
/// <param name="Path">Its directory.</param>
public sealed record CheckpointRef(int Step, string Path);

/// <summary>The <c>checkpoint-N/</c> directories of a run: the model as it would be saved at the end, the optimizer's
/// tensors, and trainer_state.json. A directory appears in one rename, complete or not at all.</summary>
public sealed class CheckpointStore(string directory)
{
    /// <summary>What the name of a checkpoint begins with; the step follows.</summary>
    public const string Prefix = "checkpoint-";

    /// <summary>The optimizer's tensors.</summary>
    public const string OptimizerFile = "optimizer.safetensors";

    /// <summary>The checkpoints there are, oldest first.</summary>
    public IReadOnlyList<CheckpointRef> All() => !Directory.Exists(directory)
        ? []
        : [.. Directory.GetDirectories(directory, Prefix + "*")
            .Select(path => (Path: path, Number: Path.GetFileName(path)[Prefix.Length..]))
            .Where(c => int.TryParse(c.Number, NumberStyles.None, CultureInfo.InvariantCulture, out _))
            // Other trainers give theirs the same name.
            .Where(c => File.Exists(Path.Combine(c.Path, OptimizerFile)))
            .Select(c => new CheckpointRef(int.Parse(c.Number, CultureInfo.InvariantCulture), c.Path))
            .OrderBy(c => c.Step)];

    /// <summary>The newest checkpoint, or null.</summary>
    public CheckpointRef? Latest() => All() is [.., var newest] ? newest : null;

    /// <summary>The checkpoint in a directory that a user named.</summary>
    /// <exception cref="UserException">There is none.</exception>
    public static CheckpointRef Open(string path)
    {
        if (!File.Exists(TrainerStateFile.PathIn(path)))
            throw UserException.At(path, $"no {TrainerStateFile.Name} in it",
                advice: "name a checkpoint-N directory, or use --resume auto");
        return new(TrainerStateFile.Read(path).State.Step, path);
    }

    /// <summary>Writes a checkpoint and removes the oldest beyond the limit, never the best or the newest.</summary>
    /// <param name="file">Where the run stands, and which run it is.</param>
    /// <param name="model">What is trained.</param>
    /// <param name="optimizer">Its optimizer.</param>
    /// <param name="limit">How many are kept; 0 for all.</param>
    /// <returns>The checkpoint's directory.</returns>
    public string Save(TrainerStateFile file, ICheckpointed model, Optimizer optimizer, int limit)
    {
        var path = PathOf(file.State.Step);
        AtomicDirectory.Replace(path, target =>
        {
            model.SaveExactly(target);
            using var scope = torch.NewDisposeScope();
            TensorFile.Write(Path.Combine(target, OptimizerFile), optimizer.StateDict().Select(t => (t.Key, t.Value)));
            TrainerStateFile.Write(target, file);
        });
        if (limit > 0)
            RemoveOldest(file.State, limit);
        return path;
    }

    /// <summary>Puts everything of a checkpoint back and returns where the run stands.</summary>
    /// <param name="checkpoint">The checkpoint.</param>
    /// <param name="recipeIdentity">The recipe that continues it.</param>
    /// <param name="model">What is trained.</param>
    /// <param name="optimizer">Its optimizer.</param>
    /// <exception cref="UserException">The checkpoint belongs to another recipe, or a file is missing or
    /// damaged.</exception>
    public static TrainingState Restore(CheckpointRef checkpoint, string recipeIdentity, ICheckpointed model,
        Optimizer optimizer)
    {
        var file = TrainerStateFile.Read(checkpoint.Path);
        file.RequireSameRecipe(checkpoint.Path, recipeIdentity);
        model.Restore(checkpoint.Path);
        using var scope = torch.NewDisposeScope();
        var path = Path.Combine(checkpoint.Path, OptimizerFile);
        try
        {
            optimizer.LoadStateDict(TensorFile.Read(path));
        }
        catch (ArgumentException e)
        {
            throw UserException.At(path, $"does not fit this run ({e.Message})",
                advice: "resume from another checkpoint", inner: e);
        }
        return file.State;
    }

    /// <summary>Checks, before a run continues, that the best parameters so far can be put back at its end.</summary>
    /// <exception cref="UserException">Their checkpoint is not in the directory.</exception>
    public void RequireBest(int best)
    {
        if (All().All(checkpoint => checkpoint.Step != best))
            throw UserException.At(
                directory, $"no {Prefix}{best}, which holds the best parameters so far (load_best_model_at_end)",
                advice: "copy it there, or continue in the directory that has it");
    }

    /// <summary>Puts the parameters of the checkpoint of a step back.</summary>
    public void RestoreParameters(int step, ICheckpointed model) => model.Restore(PathOf(step));

    /// <summary>Where the checkpoint of a step lies.</summary>
    public string PathOf(int step) => Path.Combine(directory, $"{Prefix}{step}");

    private void RemoveOldest(TrainingState state, int limit)
    {
        var removable = All().Where(c => c.Step != state.BestStep && c.Step != state.Step).ToList();
        foreach (var old in removable.Take(Math.Max(0, removable.Count - (limit - 1))))
            AtomicDirectory.Remove(old.Path);
    }
}
