using System.Globalization;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Models.Loading;

namespace Peft.Training.Checkpoints;

/// <summary>A checkpoint on disk.</summary>
/// <param name="Step">Optimizer steps done when it was written.</param>
/// <param name="Path">Its directory.</param>
public sealed record CheckpointRef(int Step, string Path);

/// <summary>The <c>checkpoint-N/</c> directories of a run: the model as it would be saved at the end, the optimizer's
/// tensors, and trainer_state.json. A directory appears in one rename, complete or not at all.</summary>
public sealed class CheckpointStore(string directory)
{
    private const string Prefix = "checkpoint-";
    private const string OptimizerFile = "optimizer.safetensors";

    /// <summary>The checkpoints there are, oldest first.</summary>
    public IReadOnlyList<CheckpointRef> All() => !Directory.Exists(directory)
        ? []
        : [.. Directory.GetDirectories(directory, Prefix + "*")
            .Select(path => (Path: path, Number: Path.GetFileName(path)[Prefix.Length..]))
            .Where(c => int.TryParse(c.Number, NumberStyles.None, CultureInfo.InvariantCulture, out _))
            .Select(c => new CheckpointRef(int.Parse(c.Number, CultureInfo.InvariantCulture), c.Path))
            .OrderBy(c => c.Step)];

    /// <summary>The newest checkpoint, or null.</summary>
    public CheckpointRef? Latest() => All() is [.., var newest] ? newest : null;

    /// <summary>The checkpoint in a directory that a user named.</summary>
    /// <exception cref="UserException">There is none.</exception>
    public static CheckpointRef Open(string path)
    {
        if (!File.Exists(TrainerStateFile.PathIn(path)))
            throw new UserException($"{path}: has no {TrainerStateFile.Name} - name a checkpoint-N directory, or use --resume auto");
        return new(TrainerStateFile.Read(path).State.Step, path);
    }

    /// <summary>Writes a checkpoint and removes the oldest beyond the limit, never the best or the newest.</summary>
    public string Save(TrainingState state, TrainingRun run, int limit)
    {
        var path = Path.Combine(directory, $"{Prefix}{state.Step}");
        AtomicDirectory.Replace(path, target =>
        {
            run.SaveModel(target);
            using var scope = torch.NewDisposeScope();
            TensorFile.Write(Path.Combine(target, OptimizerFile), run.Optimizer.StateDict().Select(t => (t.Key, t.Value)));
            TrainerStateFile.Write(target, new(state, run.TotalSteps, run.RecipeIdentity));
        });
        if (limit > 0)
            RemoveOldest(state, limit);
        return path;
    }

    /// <summary>Puts everything of a checkpoint back and returns where the run stands.</summary>
    /// <exception cref="UserException">The checkpoint belongs to another recipe, or a file is missing or damaged.</exception>
    public static TrainingState Restore(CheckpointRef checkpoint, TrainingRun run)
    {
        var file = TrainerStateFile.Read(checkpoint.Path);
        file.RequireSameRecipe(checkpoint.Path, run.RecipeIdentity);
        run.LoadModel(checkpoint.Path);
        using var scope = torch.NewDisposeScope();
        var path = Path.Combine(checkpoint.Path, OptimizerFile);
        try
        {
            run.Optimizer.LoadStateDict(TensorFile.Read(path));
        }
        catch (ArgumentException e)
        {
            throw new UserException($"{path}: does not fit this run ({e.Message}) - resume from another checkpoint", e);
        }
        return file.State;
    }

    /// <summary>Checks, before a run goes on, that the best parameters so far can be put back at its end.</summary>
    /// <exception cref="UserException">They are to be, and their checkpoint is not in the directory.</exception>
    public void RequireBest(TrainingState state, TrainingOptions options)
    {
        if (!options.LoadBestModelAtEnd || state.BestStep is not { } best || All().Any(c => c.Step == best))
            return;
        throw new UserException(
            $"{directory}: has no {Prefix}{best}, which holds the best parameters so far (load_best_model_at_end) - " +
            "copy it there, or continue in the directory that has it");
    }

    /// <summary>Puts the parameters of the checkpoint of a step back.</summary>
    public void RestoreParameters(int step, TrainingRun run) =>
        run.LoadModel(Path.Combine(directory, $"{Prefix}{step}"));

    private void RemoveOldest(TrainingState state, int limit)
    {
        var removable = All().Where(c => c.Step != state.BestStep && c.Step != state.Step).ToList();
        foreach (var old in removable.Take(Math.Max(0, removable.Count - (limit - 1))))
            AtomicDirectory.Remove(old.Path);
    }
}
