namespace Peft.Formats.Files;

/// <summary>What to say about a path at which there is nothing.</summary>
public static class MissingPath
{
    private const int MostEntries = 10_000; // of one folder
    private const int MostFolders = 200; // that are looked into for the same name

    /// <summary>The nearest path that exists, or else what to check; then every folder that was looked in.</summary>
    /// <param name="path">The path as the user wrote it.</param>
    /// <param name="lookedIn">The folders that it was looked for in; none where it was taken as it is.</param>
    public static string Advice(string path, params IReadOnlyList<string> lookedIn)
    {
        IReadOnlyList<string> folders = lookedIn.Count == 0 || Path.IsPathRooted(path) ? [""] : lookedIn;
        // What is in the working directory is named as the user would.
        var near = folders.Select(folder => Nearest(path, folder == Directory.GetCurrentDirectory() ? "" : folder))
            .FirstOrDefault(found => found is not null);
        var searched = lookedIn.Count == 0 || Path.IsPathRooted(path)
            ? ""
            : $"looked in {Words.AllOf([.. lookedIn.Select(Shown).Distinct()])}";
        if (near == path)
            return $"{path} is {(File.Exists(path) ? "a file" : "a directory")}";
        return near is not null ? $"did you mean {near}?{(searched.Length == 0 ? "" : " L" + searched[1..])}"
            : searched.Length > 0 ? searched
            : Path.IsPathRooted(path) ? "check the path"
            : $"check the path: it was looked for in {Directory.GetCurrentDirectory()}";
    }

    /// <summary>A path that exists and differs from one that does not by a typing mistake, an ending or one folder;
    /// null where there is none.</summary>
    /// <param name="path">The path as the user wrote it.</param>
    /// <param name="folder">What it is relative to; empty for the working directory.</param>
    public static string? Nearest(string path, string folder = "")
    {
        try
        {
            return Corrected(path, folder) ?? Below(path, folder);
        }
        catch (Exception error) when (FileOperationException.Covers(error) || error is ArgumentException)
        {
            return null; // this would only have been advice
        }
    }

    // Part by part: what is there stays, and what is not becomes its nearest neighbour.
    private static string? Corrected(string path, string folder)
    {
        var found = Path.IsPathRooted(path) ? Path.GetPathRoot(path)! : folder;
        var parts = path[(Path.IsPathRooted(path) ? found.Length : 0)..]
            .Split('/', StringSplitOptions.RemoveEmptyEntries);
        foreach (var (i, part) in parts.Index())
        {
            var next = Path.Combine(found, part);
            var isLast = i == parts.Length - 1;
            if (!(isLast ? Path.Exists(next) : Directory.Exists(next)))
            {
                var names = Entries(found, directoriesOnly: !isLast);
                // Endings are alike: only a name that is near without its own is meant.
                var likely = names.Where(name => NearestName.Of(Stem(part), [Stem(name)]) is not null);
                var near = NearestName.Of(part, likely)
                    ?? names.Find(name => part.Equals(
                        Path.GetFileNameWithoutExtension(name), StringComparison.OrdinalIgnoreCase));
                if (near is null)
                    return null;
                next = Path.Combine(found, near);
            }

            found = next;
        }

        return parts.Length == 0 ? null : found;
    }

    private static string Stem(string name) =>
        Path.GetFileNameWithoutExtension(name) is { Length: > 0 } stem ? stem : name;

    // The same name one folder below, where only a name was given: default.yaml for recipes/default.yaml.
    private static string? Below(string path, string folder) => Path.GetFileName(path) != path || path.Length == 0
        ? null
        : Entries(folder, directoriesOnly: true).Take(MostFolders)
            .SelectMany(inner => new[] { path, path + ".yaml" }.Select(name => Path.Combine(folder, inner, name)))
            .FirstOrDefault(Path.Exists);

    private static List<string> Entries(string folder, bool directoriesOnly)
    {
        var directory = new DirectoryInfo(folder.Length == 0 ? "." : folder);
        var entries = directoriesOnly ? directory.EnumerateDirectories() : directory.EnumerateFileSystemInfos();
        return [.. entries.Select(entry => entry.Name).Where(name => name[0] != '.').Take(MostEntries)
            .Order(StringComparer.Ordinal)];
    }

    private static string Shown(string folder) =>
        folder.Length == 0 ? Directory.GetCurrentDirectory() : Path.GetFullPath(folder);
}
