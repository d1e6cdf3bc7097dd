using System.IO.Enumeration;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Data.Tables;

/// <summary>Turns what <c>files:</c> says into files: plain paths, or patterns with <c>*</c>, <c>?</c> and
/// <c>**</c>.</summary>
public static class FilePattern
{
    private const string Endings = ".parquet, .jsonl, .json, .csv, .tsv or .txt";

    /// <summary>The files of a list of patterns, those of one pattern sorted by name; what is wrong goes to <paramref
    /// name="faults"/>.</summary>
    /// <param name="patterns">Paths or patterns.</param>
    /// <param name="format">The format of all of them, or null to go by the file name's ending.</param>
    /// <param name="baseDirectory">The folder that relative paths start from.</param>
    /// <param name="place">Where the patterns were written, for messages.</param>
    /// <param name="faults">Takes a fault for each pattern without a file.</param>
    /// <param name="lookedIn">The folders that relative paths were looked for in, for messages; null for the base
    /// directory alone.</param>
    public static IReadOnlyList<DataFile> Expand(
        IReadOnlyList<string> patterns, DataFormat? format, string baseDirectory, string place, Faults faults,
        IReadOnlyList<string>? lookedIn = null)
    {
        var files = new List<DataFile>();
        foreach (var pattern in patterns)
        {
            foreach (var name in Matches(pattern, baseDirectory, place, faults, lookedIn ?? [baseDirectory]))
            {
                var path = Path.GetFullPath(name, baseDirectory);
                if ((format ?? DataFormats.OfPath(path)) is not { } known)
                    faults.Add(place, name, $"a file name that ends in {Endings}", "set `format:` for other names");
                else if (files.Exists(file => file.Path == path))
                    faults.Add(
                        place, $"{name} twice", "each file once in a data set",
                        "use `weight:` to see a data set more often");
                else if (known != DataFormat.Parquet && new FileInfo(path).Length == 0)
                    faults.Add(place, $"{name} is empty", "a file with rows");
                else
                    files.Add(new DataFile(path, name, known));
            }
        }

        return files;
    }

    private static List<string> Matches(
        string pattern, string baseDirectory, string place, Faults faults, IReadOnlyList<string> lookedIn)
    {
        if (pattern.Contains("://", StringComparison.Ordinal))
        {
            faults.Add(place, Quote.Of(pattern), "local files only", "download it first and give its path");
            return [];
        }

        var full = Path.GetFullPath(pattern, baseDirectory);
        if (File.Exists(full))
            return [pattern];
        if (Directory.Exists(full))
        {
            faults.Add(place, $"{pattern} is a folder", "files", $"write for example {pattern.TrimEnd('/')}/*.parquet");
            return [];
        }

        if (pattern.AsSpan().IndexOfAny('*', '?') >= 0)
        {
            var found = Walk(full.Split('/', StringSplitOptions.RemoveEmptyEntries), 0, "/")
                .Order(StringComparer.Ordinal).Distinct();
            var names = found.Select(path => Shown(path, pattern, baseDirectory)).ToList();
            if (names.Count == 0)
                faults.Add(
                    place, $"{pattern} matches no file", "a pattern that matches files",
                    $"looked in {Words.AllOf(lookedIn)}");
            return names;
        }

        faults.Add(place, $"{pattern} does not exist", null, MissingPath.Advice(pattern, lookedIn));
        return [];
    }

    private static string Shown(string path, string pattern, string baseDirectory) =>
        Path.IsPathRooted(pattern) ? path : Path.GetRelativePath(baseDirectory, path);

    // parts[at..] are the segments still to be matched below the folder.
    private static IEnumerable<string> Walk(string[] parts, int at, string folder)
    {
        if (!Directory.Exists(folder))
            return [];
        var part = parts[at];
        var isLast = at == parts.Length - 1;
        if (part == "**")
        {
            var here = isLast ? Directory.EnumerateFiles(folder) : Walk(parts, at + 1, folder);
            return here.Concat(
                Directory.EnumerateDirectories(folder).Where(IsRealFolder).SelectMany(sub => Walk(parts, at, sub)));
        }

        if (part.AsSpan().IndexOfAny('*', '?') < 0)
        {
            var path = Path.Combine(folder, part);
            return isLast ? (File.Exists(path) ? [path] : []) : Walk(parts, at + 1, path);
        }

        return isLast
            ? Directory.EnumerateFiles(folder).Where(path => IsMatch(part, path))
            : Directory.EnumerateDirectories(folder).Where(path => IsMatch(part, path)).SelectMany(
                path => Walk(parts, at + 1, path));
    }

    // A link to a folder above would be walked for ever.
    private static bool IsRealFolder(string path) => new DirectoryInfo(path).LinkTarget is null;

    private static bool IsMatch(string part, string path)
    {
        var name = Path.GetFileName(path);
        return (part[0] == '.' || name[0] != '.')
            && FileSystemName.MatchesSimpleExpression(part, name, ignoreCase: false);
    }
}
