using System.Text.RegularExpressions;

namespace Peft.Architecture.Tests;

/// <summary>House rules that the compiler does not check.</summary>
public sealed partial class SourceFileTests
{
    private const int LongestFile = 400;

    [Fact]
    public void No_source_file_is_longer_than_400_lines()
    {
        var findings = RepositoryFiles.Below("src", ".cs").Concat(RepositoryFiles.Below("data", ".cs"))
            .Select(file => (file, lines: RepositoryFiles.Lines(file).Length))
            .Where(entry => entry.lines > LongestFile)
            .Select(entry => $"{entry.file}: {entry.lines} lines");
        RepositoryFiles.AssertNone(findings, $"files of more than {LongestFile} lines:");
    }

    [Fact]
    public void No_source_file_has_unfinished_or_apologising_code() =>
        RepositoryFiles.AssertNone(
            RepositoryFiles.Findings(RepositoryFiles.Below("src").Concat(RepositoryFiles.Below("data", ".cs")),
                UnfinishedWord().IsMatch),
            "words that do not belong in src:");

    [Fact]
    public void No_file_names_a_folder_of_one_machine()
    {
        // Spelled in two parts, so that this file passes its own check.
        string[] folders = ["/" + "root/", "/" + "home/", "/" + "Users/", SharedAssets.Repository + "/"];
        string[] textual = [".cs", ".csproj", ".props", ".targets", ".yaml", ".yml", ".json", ".md", ".sh", ".txt",
            ".scriban", ".html", ".sln", ""];
        // A test may make up a path to show what becomes of it.
        var made = RepositoryFiles.Below("tests", ".cs");
        var files = RepositoryFiles.Below("").Where(file => textual.Contains(Path.GetExtension(file)));
        RepositoryFiles.AssertNone(
            RepositoryFiles.Findings(files.Except(made),
                line => folders.Any(folder => line.Contains(folder, StringComparison.Ordinal)))
                .Concat(RepositoryFiles.Findings(made, line => line.Contains(folders[^1], StringComparison.Ordinal))),
            "paths of one machine:");
    }

    [Fact]
    public void No_test_is_switched_off() =>
        RepositoryFiles.AssertNone(
            RepositoryFiles.Findings(
                RepositoryFiles.Below("tests",
                    ".cs").Where(file => !file.EndsWith("SourceFileTests.cs", StringComparison.Ordinal)),
                SwitchedOffTest().IsMatch),
            "tests that do not test:");

    [GeneratedRegex(@"TODO|FIXME|HACK|NotImplementedException|(?i:for now|placeholder)")]
    private static partial Regex UnfinishedWord();

    [GeneratedRegex(@"\[(Fact|Theory)\(Skip|Assert\.True\(true\)")]
    private static partial Regex SwitchedOffTest();
}
