using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Bundles;

/// <summary>A bundle whose files were checked.</summary>
/// <param name="Directory">Where it stands.</param>
/// <param name="Manifest">What bundle.json says.</param>
/// <param name="Weights">Its tensors, not read yet.</param>
public sealed record LoadedBundle(string Directory, BundleManifest Manifest, SafetensorsFile Weights);

/// <summary>Opens bundles and checks them.</summary>
public static class BundleReader
{
    private const int Attempts = 10;

    /// <summary>Reads bundle.json and compares the hash of every file it names; tensors are checked when they are attached.</summary>
    /// <exception cref="UserException">The directory is no bundle, or its files are missing or changed; all at once.</exception>
    /// <remarks>A bundle that another process exchanges meanwhile is read again: what is returned belongs together.</remarks>
    public static LoadedBundle Load(string directory)
    {
        for (var attempt = 1; ; attempt++)
        {
            var before = BundleFiles.State(directory);
            try
            {
                return LoadOnce(directory);
            }
            catch (UserException) when (attempt < Attempts && BundleFiles.State(directory) != before)
            {
                Thread.Sleep(20 * attempt);
            }
        }
    }

    private static LoadedBundle LoadOnce(string directory)
    {
        if (!BundleFiles.IsBundle(directory))
            throw new UserException(
                $"{directory}: has no {BundleFiles.Manifest}; a bundle's directory is needed; if the training was interrupted, "
                + "resume it, or name one of its checkpoint-N directories");
        var manifest = BundleManifest.Read(BundleFiles.PathOf(directory, BundleFiles.Manifest));
        var faults = new Faults();
        foreach (var (name, expected) in manifest.Files)
            Check(faults, directory, name, expected);
        foreach (var needed in new[] { BundleFiles.Config, BundleFiles.Weights })
        {
            if (!manifest.Files.Any(file => file.Key == needed))
                faults.Add(needed, "not listed in bundle.json", "a hash for it");
        }
        faults.ThrowIfAny(directory);
        return new LoadedBundle(directory, manifest, SafetensorsFile.Open(BundleFiles.PathOf(directory, BundleFiles.Weights)));
    }

    private static void Check(Faults faults, string directory, string name, string expected)
    {
        if (name != Path.GetFileName(name) || name is "" or "." or "..")
        {
            faults.Add(Quote.Of(name), "a path", "a file name in the bundle's own directory");
            return;
        }
        var path = BundleFiles.PathOf(directory, name);
        if (!File.Exists(path))
            faults.Add(name, "missing", "the file that bundle.json lists", "copy the whole directory");
        else if (InnerPath.OutsideTarget(directory, Path.GetRelativePath(directory, path)) is { } target)
            faults.Add(name, $"a link to {Quote.Of(target)}", "a file in the bundle's own directory", "where you trust it, copy that file over the link");
        else if (Sha256.OfFile(path) is var found && found != expected)
            faults.Add(name, $"sha256 {found}", $"sha256 {expected}", "the file was changed or damaged after it was written");
    }
}
