using Peft.Adapters.Bundles;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Recipes.Exchange;

/// <summary>Whether a directory may be written as a whole, or replaced.</summary>
public static class ResultDirectory
{
    // What a result of this program, of PEFT or of transformers has at least one of.
    private static readonly string[] Marks =
    [
        BundleFiles.Manifest, MixtureDirectory.Manifest, LoraAdapterConfig.FileName, ModelSaver.SingleFile, ModelSaver.IndexFile,
    ];

    /// <summary>Refuses a place where something would be lost; to be asked before anything is read.</summary>
    /// <param name="path">The directory to write.</param>
    /// <param name="overwrite">Whether an earlier result may be replaced.</param>
    /// <param name="inputs">Directories that are read; null ones are passed over.</param>
    /// <exception cref="UserException">It exists, is no result, or holds an input.</exception>
    public static void Require(string path, bool overwrite, params IEnumerable<string?> inputs)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        if (File.Exists(path))
            throw new UserException($"{path}: is a file - name a directory with --output");
        foreach (var input in inputs.OfType<string>().Where(input => IsSameOrInside(input, path)))
            throw new UserException($"{path}: {input} is read from there - choose another with --output");
        if (!Directory.Exists(path) || !Directory.EnumerateFileSystemEntries(path).Any())
            return;
        if (!overwrite)
            throw new UserException($"{path}: exists - replace it with --overwrite, or choose another with --output");
        if (!Marks.Any(mark => File.Exists(Path.Combine(path, mark))))
            throw new UserException(
                $"{path}: holds no adapter and no model - --overwrite replaces such a directory and nothing else; choose another with --output");
    }

    private static bool IsSameOrInside(string input, string output)
    {
        var (inner, outer) = (Full(input), Full(output));
        return inner == outer || inner.StartsWith(outer + Path.DirectorySeparatorChar, StringComparison.Ordinal);
    }

    private static string Full(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
}
