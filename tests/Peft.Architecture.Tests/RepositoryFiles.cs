namespace Peft.Architecture.Tests;

/// <summary>
/// The files of the checkout as a reader sees them: no build outputs, nothing that a make target installs or makes.
/// </summary>
internal static class RepositoryFiles
{
    private static readonly string[] SkippedFolders = [".git", ".artifacts", "bin", "obj", "node_modules", "cache",
        "TestResults", ".vs"];

    /// <summary>
    /// Every file below a folder of the repository (<c>""</c>: all of it), as paths relative to the repository, sorted.
    /// </summary>
    public static IReadOnlyList<string> Below(string folder, params string[] extensions) =>
        [.. Walk(Path.Combine(SharedAssets.Repository, folder))
            .Where(path => extensions.Length == 0 || extensions.Contains(Path.GetExtension(path)))
            .Select(path => Path.GetRelativePath(SharedAssets.Repository, path))
            .Order(StringComparer.Ordinal)];

    /// <summary>The text of a file given relative to the repository.</summary>
    public static string Text(string relativePath) =>
        File.ReadAllText(Path.Combine(SharedAssets.Repository, relativePath));

    /// <summary>The lines of a file given relative to the repository.</summary>
    public static string[] Lines(string relativePath) =>
        File.ReadAllLines(Path.Combine(SharedAssets.Repository, relativePath));

    public static bool Exists(string relativePath) => Path.Exists(Path.Combine(SharedAssets.Repository, relativePath));

    /// <summary>"path:line: text" of every line that the predicate names as wrong.</summary>
    public static IEnumerable<string> Findings(IEnumerable<string> files, Func<string, bool> isWrong) =>
        from file in files
        from numbered in Lines(file).Index()
        where isWrong(numbered.Item)
        select $"{file}:{numbered.Index + 1}: {numbered.Item.Trim()}";

    /// <summary>Fails with one finding a line.</summary>
    public static void AssertNone(IEnumerable<string> findings, string rule)
    {
        var all = findings.ToList();
        Assert.True(all.Count == 0, $"{rule}\n  {string.Join("\n  ", all)}");
    }

    private static IEnumerable<string> Walk(string folder)
    {
        if (!Directory.Exists(folder))
            yield break;
        foreach (var file in Directory.EnumerateFiles(folder))
            yield return file;
        foreach (var child in Directory.EnumerateDirectories(folder))
        {
            // bin/ and obj/ at any depth; a trained bundle or a result is not part of the repository either.
            var isOutput = SkippedFolders.Contains(Path.GetFileName(child))
                || Path.GetRelativePath(SharedAssets.Repository, child) is "results"
                || Path.GetDirectoryName(Path.GetRelativePath(SharedAssets.Repository, child)) == "adapters";
            if (isOutput)
                continue;
            foreach (var file in Walk(child))
                yield return file;
        }
    }
}
