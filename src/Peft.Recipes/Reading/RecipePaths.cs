using Peft.Adapters.Bundles;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Recipes.Reading;

/// <summary>Finds the files that a recipe names.</summary>
/// <remarks>
/// A relative path is looked for from the working directory first, then from the recipe's folder and each folder above it, so that
/// a recipe of a checkout works from wherever the program is started. The recipe that a bundle holds says with
/// <c>base_directories</c> where these were when it was trained; they come first, so that the bundle finds its data from anywhere.
/// </remarks>
/// <param name="recipePath">The recipe's file; null for none.</param>
/// <param name="baseDirectories">Folders that are looked in before; null for none.</param>
public sealed class RecipePaths(string? recipePath, IReadOnlyList<string>? baseDirectories = null)
{
    private const int MostNames = 10_000; // of a folder: a hint is not worth more

    /// <summary>The recipe's key.</summary>
    public const string Key = "base_directories";

    private readonly IReadOnlyList<string> _baseDirectories = baseDirectories ?? [];

    /// <summary>What <c>base_directories</c> says in the recipe that a bundle holds.</summary>
    public IReadOnlyList<string> BaseDirectories => _baseDirectories.Count > 0 || recipePath is null
        ? _baseDirectories
        : [.. new[] { Directory.GetCurrentDirectory(), Path.GetDirectoryName(Path.GetFullPath(recipePath))! }.Distinct()];

    /// <summary>The paths that an adapter's files name: from where its bundle's recipe found them, and from its own folder.</summary>
    public static RecipePaths OfAdapter(string directory)
    {
        var recipe = BundleFiles.PathOf(directory, BundleFiles.Recipe);
        var folders = File.Exists(recipe) && YamlReader.ReadFile(recipe)[Key] is ConfigList list
            ? list.Items.OfType<ConfigScalar>().Select(folder => folder.Text).OfType<string>().ToList()
            : [];
        return new RecipePaths(Path.Combine(Path.GetFullPath(directory), BundleFiles.Config), folders);
    }

    /// <summary>The path as found; a path that is nowhere comes back as it was written, and its reader will say so.</summary>
    public string Resolve(string path) => Path.IsPathRooted(path)
        ? path
        : Folders().Select(folder => folder.Length == 0 ? path : Path.Combine(folder, path)).FirstOrDefault(Exists, path);

    /// <summary>What to do about a path that is nowhere: the nearest that exists, and where it was looked for.</summary>
    public string AdviceFor(string path)
    {
        var folders = Path.IsPathRooted(path) ? [""] : Folders().ToList();
        var near = folders.Select(folder => NearestIn(folder, path)).FirstOrDefault(found => found is not null);
        var looked = Path.IsPathRooted(path) ? null
            : $"looked in {Words.AllOf([.. folders.Select(folder => folder.Length == 0 ? Directory.GetCurrentDirectory() : folder).Distinct()])}";
        return (near, looked) switch
        {
            (null, null) => "check the path",
            (null, _) => looked!,
            (_, null) => $"did you mean {near}?",
            _ => $"did you mean {near}? L{looked![1..]}",
        };
    }

    /// <summary>A question after the nearest path that exists; null where none is near.</summary>
    /// <param name="path">A path that does not exist.</param>
    /// <param name="folder">Where a relative path starts; empty for the working directory.</param>
    public static string? Nearest(string path, string folder = "") =>
        NearestIn(folder, path) is { } near ? $"did you mean {near}?" : null;

    private IEnumerable<string> Folders()
    {
        var own = recipePath is null ? null : Path.GetDirectoryName(Path.GetFullPath(recipePath));
        return [.. _baseDirectories, .. _baseDirectories.SelectMany(Above), "", .. own is null ? [] : Above(own).Prepend(own)];
    }

    private static IEnumerable<string> Above(string folder)
    {
        for (var above = Path.GetDirectoryName(folder); above is not null; above = Path.GetDirectoryName(above))
            yield return above;
    }

    // Of a path the first name that is not there is replaced by the nearest beside it; the rest must exist behind that.
    private static string? NearestIn(string folder, string path)
    {
        if (path.AsSpan().IndexOfAny('*', '?', '[') >= 0)
            return null;
        var names = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        var found = Path.IsPathRooted(path) ? "/" : "";
        for (var i = 0; i < names.Length; i++)
        {
            var next = Path.Combine(found, names[i]);
            if (Path.Exists(Path.Combine(folder, next)))
            {
                found = next;
                continue;
            }
            var here = Path.Combine(folder, found);
            if (NearestOf(names[i], NamesIn(here.Length == 0 ? "." : here)) is not { } near)
                return null;
            var whole = Path.Combine([found, near, .. names[(i + 1)..]]);
            return Path.Exists(Path.Combine(folder, whole)) ? whole : null;
        }
        return null;
    }

    // An ending in common says nothing of how near two names are.
    private static string? NearestOf(string name, IReadOnlyList<string> names)
    {
        var ending = Path.GetExtension(name);
        var alike = names.Where(other => ending.Length > 0 && Path.GetExtension(other) == ending).ToList();
        return NearestName.Of(name[..^ending.Length], alike.Select(other => other[..^ending.Length])) is { } near
            ? near + ending
            : NearestName.Of(name, names.Except(alike));
    }

    private static IReadOnlyList<string> NamesIn(string folder)
    {
        try
        {
            return [.. Directory.EnumerateFileSystemEntries(folder).Take(MostNames).Select(entry => Path.GetFileName(entry))
                .Order(StringComparer.Ordinal)];
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    // For a pattern, the part before the first wildcard decides.
    private static bool Exists(string path)
    {
        var wild = path.IndexOfAny(['*', '?', '[']);
        if (wild < 0)
            return Path.Exists(path);
        var folder = Path.GetDirectoryName(path[..wild]);
        return string.IsNullOrEmpty(folder) || Directory.Exists(folder);
    }
}
