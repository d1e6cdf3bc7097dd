using Peft.Evaluation;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Recipes.Evaluation;

/// <summary>The directory that an evaluation writes.</summary>
/// <param name="path">The directory.</param>
/// <param name="overwrite">Whether what an earlier evaluation left there may be replaced.</param>
public sealed class EvaluationDirectory(string path, bool overwrite)
{
    /// <summary>Refuses a directory that holds results already, before time is spent.</summary>
    /// <exception cref="UserException">It is a file, or holds results.</exception>
    public void Check()
    {
        if (File.Exists(path))
            throw new UserException($"{path}: is a file - name a directory with --output");
        if (!overwrite && File.Exists(Inside(ResultsFile.Name)) && !File.Exists(Inside(EvaluationJournal.Name)))
            throw new UserException($"{path}: holds results - replace them with --overwrite, or choose another directory with --output");
    }

    /// <summary>Makes the directory and takes it for this evaluation.</summary>
    /// <returns>The lock, to be held while it writes.</returns>
    /// <exception cref="UserException">It cannot be written, or another evaluation has it.</exception>
    public DirectoryLock Prepare()
    {
        try
        {
            Directory.CreateDirectory(path);
            var held = DirectoryLock.TryTake(path)
                ?? throw new UserException($"{path}: another run is writing it now - wait for its end, or choose another directory with --output");
            AtomicDirectory.RecoverInside(path);
            if (overwrite)
                File.Delete(Inside(EvaluationJournal.Name));
            return held;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserException($"{path}: cannot be written ({e.Message}) - choose another directory with --output", e);
        }
    }

    private string Inside(string name) => Path.Combine(path, name);
}
