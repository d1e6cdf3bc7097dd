using System.Text;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.HuggingFace;

namespace Peft.Adapters.Bundles;

/// <summary>The files of a bundle and how they change together in a directory that also holds checkpoints and
/// metrics.</summary>
/// <remarks>
/// A bundle's directory cannot be exchanged as a whole: <c>checkpoint-N/</c> and <c>metrics.jsonl</c> live in it. So
/// new files are first written to <c>.next/</c>, which appears in one step and complete (flushed, then renamed); from
/// that moment the new bundle is the bundle. Then its files move to their places, <c>bundle.json</c> last, and
/// <c>.next/</c> goes. Whoever reads looks into <c>.next/</c> first, and whoever writes finishes an interrupted move
/// first: a crash at any moment leaves the old bundle or the new one, never a mixture of both.
/// </remarks>
public static class BundleFiles
{
    /// <summary>Hugging Face PEFT's configuration, or our own for mixtures.</summary>
    public const string Config = "adapter_config.json";

    /// <summary>The adapter's tensors.</summary>
    public const string Weights = "adapter_model.safetensors";

    /// <summary>What makes a directory a bundle: settings, base, hashes.</summary>
    public const string Manifest = "bundle.json";

    /// <summary>The recipe with every default filled in.</summary>
    public const string Recipe = "recipe.resolved.yaml";

    /// <summary>The chat template that it was trained with.</summary>
    public const string ChatTemplate = "chat_template.jinja";

    /// <summary>The model card.</summary>
    public const string Card = "README.md";

    private const string Next = ".next";

    // What a bundle may have or not; the recipe last.
    private static readonly string[] Optional = [ChatTemplate, GateFile.Name, ContinualFile.Name, Recipe];

    /// <summary>Whether a directory holds one of our bundles (finished or not yet moved into place).</summary>
    public static bool IsBundle(string directory) => File.Exists(PathOf(directory, Manifest));

    /// <summary>Where a file of the bundle is now.</summary>
    public static string PathOf(string directory, string name)
    {
        var next = Path.Combine(directory, Next, name);
        return File.Exists(next) ? next : Path.Combine(directory, name);
    }

    /// <summary>Writes files so that they become the bundle together.</summary>
    /// <param name="directory">The bundle's directory; made when it is missing, otherwise its other content
    /// stays.</param>
    /// <param name="fill">Writes the files, bundle.json among them, into the directory it is given.</param>
    public static void Replace(string directory, Action<string> fill)
    {
        var isNew = !Directory.Exists(directory);
        Directory.CreateDirectory(directory);
        FinishMove(directory);
        try
        {
            AtomicDirectory.Replace(Path.Combine(directory, Next), fill);
        }
        catch when (isNew && !Directory.EnumerateFileSystemEntries(directory).Any())
        {
            Directory.Delete(directory);
            throw;
        }
        FinishMove(directory);
    }

    /// <summary>Removes the bundle's own files, a half-moved new one among them; whatever else is there
    /// stays.</summary>
    public static void Remove(string directory)
    {
        // A manifest in .next/ would otherwise be gone before the files that were already moved out of it. The manifest
        // goes first: after a crash here the directory is no bundle. The recipe goes last: until then it is a run's.
        FinishMove(directory);
        foreach (var name in (string[])[Manifest, Config, Weights, Card, .. Optional])
            File.Delete(Path.Combine(directory, name));
    }

    /// <summary>The chat template that an adapter was trained with, beside its weights; null where there is
    /// none.</summary>
    public static string? ChatTemplateOf(string directory) =>
        PathOf(directory, ChatTemplate) is var path && File.Exists(path) ? ChatTemplates.ReadFile(path) : null;

    /// <summary>Writes one text file, UTF-8 without a mark before it.</summary>
    internal static void WriteText(string folder, string name, string text) =>
        File.WriteAllText(Path.Combine(folder, name), text, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false));

    /// <summary>What tells whether the bundle is being exchanged: equal before and after a look at its files, these
    /// belong together.</summary>
    internal static string State(string directory)
    {
        var manifest = new FileInfo(PathOf(directory, Manifest));
        return Directory.Exists(Path.Combine(directory, Next))
            ? Guid.NewGuid().ToString() // on the move: equal to nothing
            : manifest.Exists ? $"{manifest.Length} {manifest.LastWriteTimeUtc.Ticks}" : "";
    }

    /// <summary>Notes where a file is not the one that a manifest lists.</summary>
    internal static void Compare(Faults faults, string directory, string name, string path, string sha256)
    {
        if (!File.Exists(path))
            faults.Add(name, "missing", "the file that the manifest lists", "copy the whole directory");
        else if (InnerPath.OutsideTarget(directory, Path.GetRelativePath(directory, path)) is { } target)
            faults.Add(
                name, $"a link to {Quote.Of(target)}", "a file in the directory itself",
                "if you trust it, copy that file over the link");
        else if (Sha256.OfFile(path) is var found && found != sha256)
            faults.Add(
                name, $"SHA-256 {found}", $"SHA-256 {sha256}", "the file was changed or damaged after it was written");
    }

    // What the bundle before had and this one has not would be taken for its own.
    private static void RemoveUnlisted(string directory, string manifest)
    {
        IEnumerable<string> listed;
        try
        {
            listed = BundleManifest.Read(manifest).Files.Select(file => file.Key);
        }
        catch (UserException)
        {
            return; // damaged: whoever opens the bundle is told
        }
        foreach (var name in Optional.Except(listed))
            File.Delete(Path.Combine(directory, name));
    }

    /// <summary>Completes a move that was interrupted; does nothing otherwise.</summary>
    public static void FinishMove(string directory)
    {
        var next = Path.Combine(directory, Next);
        if (!Directory.Exists(next))
            return;
        var files = Directory.GetFiles(next).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal);
        foreach (var name in files.Where(name => name != Manifest))
            File.Move(Path.Combine(next, name), Path.Combine(directory, name), overwrite: true);
        var manifest = Path.Combine(next, Manifest);
        if (File.Exists(manifest))
        {
            RemoveUnlisted(directory, manifest);
            File.Move(manifest, Path.Combine(directory, Manifest), overwrite: true);
        }
        Directory.Delete(next);
    }
}
