using Peft.Adapters.Bundles;
using Peft.Evaluation;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Reports;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.HuggingFace;
using Peft.Models;
using Peft.Training.Checkpoints;
using Peft.Training.Metrics;

namespace Peft.Recipes;

/// <summary>What may happen to a directory that a run is to write.</summary>
/// <param name="Path">The directory.</param>
/// <param name="Resume">Checkpoint to continue from; null to begin anew.</param>
public sealed record OutputDirectory(string Path, CheckpointRef? Resume)
{
    /// <summary>Where <c>make eval</c> puts the results of a bundle: a folder inside it.</summary>
    public const string Evaluation = "evaluation";

    private const string Report = "report";

    private string? Asked { get; init; }

    private bool Overwrite { get; init; }

    /// <summary>
    /// Refuses a directory that another run is writing at this moment, before time is spent on loading.
    /// </summary>
    /// <exception cref="UserException">It is being written.</exception>
    public static void RequireFree(string path)
    {
        if (Directory.Exists(path))
            Take(path).Dispose();
    }

    /// <summary>Decides, before anything is written.</summary>
    /// <param name="path">The directory.</param>
    /// <param name="resume">null, <c>auto</c> (the newest checkpoint of the directory, or the beginning where there is
    /// no
    /// result yet), or a checkpoint.</param>
    /// <param name="overwrite">Whether an existing result may be removed.</param>
    /// <exception cref="UserException">The directory is in use, or there is nothing to resume.</exception>
    public static OutputDirectory Decide(string path, string? resume, bool overwrite)
    {
        if (resume is not null && overwrite)
            throw UserException.At(
                "--resume", "given with --overwrite", "one of the two",
                "--resume continues what is there, --overwrite removes it");
        if (File.Exists(path))
            throw UserException.At(path, "is a file", null, "name a directory with --output");
        var from = resume is null or "auto" ? null : CheckpointStore.Open(resume);
        // Nothing continues or replaces what no run wrote.
        if (!IsEmpty(path) && (!HoldsRun(path) || resume is null && !overwrite))
            throw InTheWay(path);
        return new(path, resume == "auto" ? Newest(path) : from) { Asked = resume, Overwrite = overwrite };
    }

    /// <summary>Whether there is nothing to continue although it was asked for: the run begins at its first
    /// step.</summary>
    public bool BeginsAnew => Asked is not null && Resume is null;

    /// <summary>
    /// Makes the directory and takes it for this run; removes what a crash left half written and, when a run begins
    /// anew, what
    /// an earlier run left.
    /// </summary>
    /// <returns>The lock, to be held while the run writes.</returns>
    /// <exception cref="UserException">It cannot be written, or another run has it or wrote into it since it was
    /// decided on.</exception>
    public DirectoryLock Prepare()
    {
        DirectoryLock? held = null;
        try
        {
            Directory.CreateDirectory(Path);
            held = Take(Path);
            if (Decide(Path, Asked, Overwrite).Resume != Resume)
                throw UserException.At(Path, "another run has just written a checkpoint here", null, "start again");
            AtomicDirectory.RecoverInside(Path);
            if (Resume is null)
                Clear();
            return held;
        }
        catch (Exception e)
        {
            held?.Dispose();
            if (e is IOException or UnauthorizedAccessException)
                throw UserException.At(Path, $"cannot be written ({e.Message})", null,
                    "choose another directory with --output", e);
            throw;
        }
    }

    /// <summary>Refuses to begin a run whose files would not fit.</summary>
    /// <param name="bytes">What it writes.</param>
    /// <exception cref="FileOperationException">There is less room, what an earlier run left included.</exception>
    public void RequireSpace(long bytes)
    {
        // Checkpoints of a run that is continued are among what it writes.
        var earlier = new CheckpointStore(Path).All().Select(checkpoint => checkpoint.Path).SelectMany(
            Directory.EnumerateFiles);
        if (Directory.Exists(Path))
            earlier = earlier.Concat(Directory.EnumerateFiles(Path));
        FileOperationException.RequireSpace(
            Path, bytes, "result, checkpoints and metrics", earlier.Sum(file => new FileInfo(file).Length));
    }

    // What is there decides what may be done about it.
    private static UserException InTheWay(string path)
    {
        const string Another = "choose another directory with --output";
        if (!HoldsRun(path))
            return UserException.At(path, "is not empty, and holds no run", null, Another);
        if (IsResult(path))
            return UserException.At(path, "holds the result of an earlier run", null,
                $"replace it with --overwrite, or {Another}");
        return new CheckpointStore(path).Latest() is { } checkpoint
            ? UserException.At(
                path, $"holds an unfinished run, saved at step {checkpoint.Step}", null,
                $"continue it with --resume auto, replace it with --overwrite, or {Another}")
            : UserException.At(
                path, "holds an unfinished run without a checkpoint", null,
                $"replace it with --overwrite, or {Another}");
    }

    // What a crash left half written is nobody's.
    private static bool IsEmpty(string path) => !Directory.Exists(path)
        || Directory.EnumerateFileSystemEntries(path).All(AtomicDirectory.IsLeftover);

    // Every run writes its recipe first and keeps it to the end.
    private static bool HoldsRun(string path) =>
        BundleFiles.IsBundle(path) || File.Exists(System.IO.Path.Combine(path, BundleFiles.Recipe))
        || new CheckpointStore(path).Latest() is not null;

    private static bool IsResult(string path) => BundleFiles.IsBundle(path)
        || File.Exists(System.IO.Path.Combine(path, FullModelFiles.Weights)) && HoldsRun(path);

    /// <summary>Takes a directory for a run.</summary>
    /// <exception cref="UserException">Another run has it.</exception>
    internal static DirectoryLock Take(string path) => DirectoryLock.TryTake(path)
        ?? throw UserException.At(
            path, "another run is writing here now", null,
            "wait until it ends, or choose another directory with --output");

    /// <summary>
    /// Removes what an earlier run left beside a bundle that was just replaced; nothing where there was none.
    /// </summary>
    public void ClearRemains()
    {
        foreach (var checkpoint in new CheckpointStore(Path).All())
            AtomicDirectory.Remove(checkpoint.Path);
        RemoveFrom(TensorBoardSink.FolderName, TensorBoardSink.IsEventFile);
        // They tell of the bundle that was here, and would stand beside the next as if they told of that.
        RemoveFrom(Evaluation, name =>
            name is ResultsFile.Name or ResultsFile.EarlierName or EvaluationJournal.Name or ExamplesFile.Name);
        RemoveFrom(Report, TemplateFile.IsPage);
        foreach (var name in (string[])
            [JsonLinesSink.FileName, ResultsFile.Name, ResultsFile.EarlierName, ExamplesFile.Name])
            File.Delete(Inside(name));
    }

    // The files of a folder that this program gives such names, and the folder where nothing else is in it.
    private void RemoveFrom(string folder, Predicate<string> isOurs)
    {
        if (!Directory.Exists(Inside(folder)))
            return;
        AtomicDirectory.RecoverInside(Inside(folder));
        foreach (var file in Directory.GetFiles(Inside(folder)).Where(file => isOurs(System.IO.Path.GetFileName(file))))
            File.Delete(file);
        if (!Directory.EnumerateFileSystemEntries(Inside(folder)).Any())
            Directory.Delete(Inside(folder));
    }

    private void Clear()
    {
        // Without its weights a model is no result; with them it would pass for that of the run that begins.
        if (!BundleFiles.IsBundle(Path) && HoldsRun(Path))
            File.Delete(Inside(FullModelFiles.Weights));
        ClearRemains();
        // Without a manifest the other names (README.md) need not be a run's.
        if (BundleFiles.IsBundle(Path))
            BundleFiles.Remove(Path);
        File.Delete(Inside(BundleFiles.Recipe));
    }

    private static CheckpointRef? Newest(string path)
    {
        var newest = new CheckpointStore(path).Latest();
        if (newest is null && IsResult(path))
            throw UserException.At(
                path, "holds a finished result and no checkpoint to resume from", null,
                "replace it with --overwrite, or choose another directory with --output");
        return newest;
    }

    private string Inside(string name) => System.IO.Path.Combine(Path, name);
}

/// <summary>Whether a directory may be written as a whole, or replaced.</summary>
public static class ResultDirectory
{
    // What a result of this program, of PEFT or of transformers has at least one of.
    private static readonly string[] Marks =
    [
        BundleFiles.Manifest, MixtureDirectory.Manifest, LoraAdapterConfig.FileName, ModelSaver.SingleFile,
        ModelSaver.IndexFile,
    ];

    /// <summary>Refuses a place where something would be lost; to be asked before anything is read.</summary>
    /// <param name="path">The directory to write.</param>
    /// <param name="overwrite">Whether an earlier result may be replaced.</param>
    /// <param name="inputs">Directories that are read; null ones are passed over.</param>
    /// <exception cref="UserException">It exists, is no result, or holds an input.</exception>
    public static void Require(string path, bool overwrite, params IEnumerable<string?> inputs)
    {
        if (File.Exists(path))
            throw UserException.At(path, "is a file", null, "name a directory with --output");
        RequireApart(path, inputs.OfType<string>());
        if (!Directory.Exists(path) || !Directory.EnumerateFileSystemEntries(path).Any())
            return;
        if (!overwrite)
            throw UserException.At(
                path, "already exists", null, "replace it with --overwrite, or choose another directory with --output");
        if (!Marks.Any(mark => File.Exists(Path.Combine(path, mark))))
            throw UserException.At(
                path, "holds neither an adapter nor a model, and --overwrite replaces nothing else", null,
                "choose another directory with --output");
    }

    /// <summary>Refuses a place that something is read from.</summary>
    /// <param name="path">The directory to write.</param>
    /// <param name="inputs">Directories that are read.</param>
    /// <exception cref="UserException">It holds an input.</exception>
    public static void RequireApart(string path, IEnumerable<string> inputs)
    {
        foreach (var input in inputs.Where(input => IsSameOrInside(input, path)))
            throw UserException.At(path, $"{input} is read from there", null, "choose another directory with --output");
    }

    /// <summary>The same for a directory that is replaced whole: nothing of it is kept.</summary>
    /// <param name="path">The directory to write.</param>
    /// <param name="overwrite">Whether an earlier result may be replaced.</param>
    /// <param name="inputs">Directories that are read; null ones are passed over.</param>
    /// <exception cref="UserException">It exists, is no result, holds an input or something that is no part of a
    /// result.</exception>
    public static void RequireWhole(string path, bool overwrite, params IEnumerable<string?> inputs)
    {
        Require(path, overwrite, inputs);
        if (Directory.Exists(path) && Foreign(path) is { } foreign)
            throw UserException.At(
                path, $"holds {Path.GetRelativePath(path, foreign)}, and --overwrite removes nothing but the files of "
                + "an adapter or model", null, "choose another directory with --output, or move that file away");
    }

    // The first entry that no adapter or model has; an adapter's folders are its experts.
    private static string? Foreign(string folder) => Directory.EnumerateFileSystemEntries(folder)
        .Order(StringComparer.Ordinal)
        .Select(entry => AtomicDirectory.IsLeftover(entry) ? null
            : !Directory.Exists(entry) ? IsPart(Path.GetFileName(entry)) ? null : entry
            : File.Exists(Path.Combine(entry, LoraAdapterConfig.FileName)) ? Foreign(entry) : entry)
        .FirstOrDefault(entry => entry is not null);

    private static bool IsPart(string name) =>
        Path.GetExtension(name) is ".safetensors" or ".json" or ".jinja" or ".model"
        || name is BundleFiles.Card or BundleFiles.Recipe || FullModelFiles.IsCopied(name);

    private static bool IsSameOrInside(string input, string output)
    {
        var (inner, outer) = (Full(input), Full(output));
        return inner == outer || inner.StartsWith(outer + Path.DirectorySeparatorChar, StringComparison.Ordinal);
    }

    private static string Full(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
}

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
            throw UserException.At(path, "is a file", null, "name a directory with --output");
        if (!overwrite && File.Exists(Inside(ResultsFile.Name)) && !File.Exists(Inside(EvaluationJournal.Name)))
            throw UserException.At(
                path, "already holds results", null,
                "replace them with --overwrite, or choose another directory with --output");
        if (File.Exists(Inside(ExamplesFile.Name)) && !File.Exists(Inside(ResultsFile.Name))
            && !File.Exists(Inside(EvaluationJournal.Name)))
            throw UserException.At(
                path, $"holds {ExamplesFile.Name}, and no results that it belongs to", null,
                "choose another directory with --output");
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
                ?? throw UserException.At(
            path, "another run is writing here now", null,
            "wait until it ends, or choose another directory with --output");
            AtomicDirectory.RecoverInside(path);
            if (overwrite)
                File.Delete(Inside(EvaluationJournal.Name));
            return held;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw UserException.At(path, $"cannot be written ({e.Message})", null,
                "choose another directory with --output", e);
        }
    }

    private string Inside(string name) => Path.Combine(path, name);
}
