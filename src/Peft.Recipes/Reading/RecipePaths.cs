using Peft.Adapters.Bundles;
using Peft.Formats.Configuration;

namespace Peft.Recipes.Reading;

/// <summary>Finds the files that a recipe names.</summary>
/// <remarks>
/// A relative path is looked for from the working directory first, then from the recipe's folder and each folder above
/// it up to the root of its repository, so that a recipe of a checkout works from wherever the program is started.
/// Outside of a repository no folder above is looked in. The recipe that a bundle holds says
/// with <c>base_directories</c> where these were when it was trained; they come first, so that the bundle finds its
/// data from anywhere.
/// </remarks>
/// <param name="recipePath">The recipe's file; null for none.</param>
/// <param name="baseDirectories">Folders that are looked in before; null for none.</param>
public sealed class RecipePaths(string? recipePath, IReadOnlyList<string>? baseDirectories = null)
{
    /// <summary>The recipe's key.</summary>
    public const string Key = "base_directories";

    // A checkout of this program may come without its history.
    private static readonly string[] RootMarks = [".git", "Peft.sln"];

    private readonly IReadOnlyList<string> _baseDirectories = baseDirectories ?? [];

    /// <summary>What <c>base_directories</c> says in the recipe that a bundle holds.</summary>
    public IReadOnlyList<string> BaseDirectories => _baseDirectories.Count > 0 || recipePath is null
        ? _baseDirectories
        : [.. new[] { Directory.GetCurrentDirectory(), FolderOf(recipePath) }.Distinct()];

    /// <summary>
    /// The paths that an adapter's files name: from where its bundle's recipe found them, and from its own folder.
    /// </summary>
    public static RecipePaths OfAdapter(string directory)
    {
        var recipe = BundleFiles.PathOf(directory, BundleFiles.Recipe);
        var folders = File.Exists(recipe) && YamlReader.ReadFile(recipe)[Key] is ConfigList list
            ? list.Items.OfType<ConfigScalar>().Select(folder => folder.Text).OfType<string>().ToList()
            : [];
        return new RecipePaths(Path.Combine(Path.GetFullPath(directory), BundleFiles.Config), folders);
    }

    /// <summary>
    /// The path as found; a path that is nowhere comes back as it was written, and its reader will say so.
    /// </summary>
    public string Resolve(string path)
    {
        if (Path.IsPathRooted(path))
            return path;
        // What is in the working directory stays as it was written.
        var here = Directory.GetCurrentDirectory();
        return Folders.Select(folder => folder == here ? path : Path.Combine(folder, path)).FirstOrDefault(Exists)
            ?? path;
    }

    /// <summary>The folders that a relative path is looked for in, in their order.</summary>
    public IReadOnlyList<string> Folders
    {
        get
        {
            var own = recipePath is null ? null : Path.GetDirectoryName(Path.GetFullPath(recipePath));
            return [.. _baseDirectories.Concat(_baseDirectories.SelectMany(Above))
                .Append(Directory.GetCurrentDirectory())
                .Concat(own is null ? [] : Above(own).Prepend(own)).Distinct()];
        }
    }

    /// <summary>
    /// Where a recipe's result goes: <c>./</c> and <c>../</c> start from the recipe's folder, other relative paths from
    /// the working directory.
    /// </summary>
    public string OutputOf(string path)
    {
        if (recipePath is null || path is not ("." or "..") && !path.StartsWith("./", StringComparison.Ordinal)
            && !path.StartsWith("../", StringComparison.Ordinal))
            return path;
        var full = Path.GetFullPath(path, FolderOf(recipePath));
        var shown = Path.GetRelativePath(Directory.GetCurrentDirectory(), full);
        return shown == ".." || shown.StartsWith("../", StringComparison.Ordinal) ? full : shown;
    }

    private static List<string> Above(string folder)
    {
        var above = new List<string>();
        for (var at = folder; at is not null; at = Path.GetDirectoryName(at))
        {
            if (at != folder)
                above.Add(at);
            if (RootMarks.Any(mark => Path.Exists(Path.Combine(at, mark))))
                return above;
        }
        return [];
    }

    private static string FolderOf(string file) => Path.GetDirectoryName(Path.GetFullPath(file))!;

    // For a pattern, the part before the first wildcard decides.
    private static bool Exists(string path)
    {
        var wild = path.IndexOfAny(['*', '?', '[']);
        if (wild < 0)
            return File.Exists(path) || Directory.Exists(path);
        var folder = Path.GetDirectoryName(path[..wild]);
        return string.IsNullOrEmpty(folder) || Directory.Exists(folder);
    }
}
