namespace Peft.Recipes.Reading;

/// <summary>Finds the files that a recipe names.</summary>
/// <remarks>A relative path is looked for from the working directory first, then from the recipe's folder and each folder
/// above it, so that a recipe of a checkout works from wherever the program is started.</remarks>
public sealed class RecipePaths(string? recipePath)
{
    /// <summary>The path as found; a path that is nowhere comes back as it was written, and its reader will say so.</summary>
    public string Resolve(string path)
    {
        if (Path.IsPathRooted(path) || Exists(path) || recipePath is null)
            return path;
        for (var folder = Path.GetDirectoryName(Path.GetFullPath(recipePath)); folder is not null;
             folder = Path.GetDirectoryName(folder))
        {
            var candidate = Path.Combine(folder, path);
            if (Exists(candidate))
                return candidate;
        }
        return path;
    }

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
