using Peft.Adapters.Bundles;
using Peft.Formats;
using Peft.Training.Checkpoints;

namespace Peft.Recipes;

/// <summary>What may happen to a directory that a run is to write.</summary>
/// <param name="Path">The directory.</param>
/// <param name="Resume">Checkpoint to continue from; null to begin anew.</param>
public sealed record OutputDirectory(string Path, CheckpointRef? Resume)
{
    /// <summary>Decides, before anything is written.</summary>
    /// <param name="path">The directory.</param>
    /// <param name="resume">null, <c>auto</c> (the newest checkpoint of the directory, or the beginning where there is no
    /// result yet), or a checkpoint.</param>
    /// <param name="overwrite">Whether an existing result may be removed.</param>
    /// <exception cref="UserException">The directory is in use, or there is nothing to resume.</exception>
    public static OutputDirectory Decide(string path, string? resume, bool overwrite)
    {
        if (resume is not null && overwrite)
            throw new UserException("--resume and --overwrite: one of them - resume continues what is there, overwrite removes it");
        if (File.Exists(path))
            throw new UserException($"{path}: is a file - name a directory with --output");
        if (resume is not null)
            return new(path, resume == "auto" ? Newest(path) : CheckpointStore.Open(resume));
        if (!overwrite && Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any())
            throw new UserException(
                $"{path}: is in use - continue it with --resume auto, replace it with --overwrite, or choose another with --output");
        return new(path, null);
    }

    /// <summary>Makes the directory; when a run begins anew, removes what an earlier run left in it.</summary>
    public void Prepare()
    {
        try
        {
            Directory.CreateDirectory(Path);
            if (Resume is not null)
                return;
            foreach (var checkpoint in new CheckpointStore(Path).All())
                Directory.Delete(checkpoint.Path, recursive: true);
            if (Directory.Exists(Inside("events")))
                Directory.Delete(Inside("events"), recursive: true);
            // Without a manifest the other names (README.md) need not be a run's.
            if (BundleFiles.IsBundle(Path))
                BundleFiles.Remove(Path);
            foreach (var name in (string[])["metrics.jsonl", "evaluation.json", BundleFiles.Recipe])
                File.Delete(Inside(name));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserException($"{Path}: cannot be written ({e.Message}) - choose another directory with --output", e);
        }
    }

    private static CheckpointRef? Newest(string path)
    {
        var newest = new CheckpointStore(path).Latest();
        if (newest is null && (BundleFiles.IsBundle(path) || File.Exists(System.IO.Path.Combine(path, FullModelFiles.Weights))))
            throw new UserException(
                $"{path}: holds a finished result and no checkpoint - replace it with --overwrite, or choose another with --output");
        return newest;
    }

    private string Inside(string name) => System.IO.Path.Combine(Path, name);
}
