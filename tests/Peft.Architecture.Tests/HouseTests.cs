using System.Text.RegularExpressions;

namespace Peft.Architecture.Tests;

/// <summary>The shape of the house (src/README.md) and the English of what people read.</summary>
public sealed partial class HouseTests
{
    private const int WidestLine = 120;
    private const int MostSourceFiles = 430;

    // Words that once were written for terms of the field, and phrases that are not English; spelled so that this file
    // passes.
    private static readonly string[] Unwanted =
    [
        "trained value", "came to {", "comes to {", "came to a ", "none to be had", "two of one name",
        "NaN or infinite - ", " 95 %",
        "is no verb", "is no fi" + "le\"", "given be" + "side", "or that are no" + "ne",
        "the course of the trai" + "ning", "given in adva" + "nce",
    ];

    public static TheoryData<string> Rooms => ReferenceDirectionTests.Rooms;

    [Fact]
    public void No_line_of_code_is_wider_than_120_columns() =>
        RepositoryFiles.AssertNone(
            Code().SelectMany(TooWide).Select(finding => finding[..Math.Min(finding.Length, 100)]),
            $"lines of more than {WidestLine} columns:");

    // A raw text in a test is somebody else's file or the program's exact output: its lines are as long as they are.
    private static IEnumerable<string> TooWide(string file)
    {
        var inRawText = false;
        foreach (var (index, line) in RepositoryFiles.Lines(file).Index())
        {
            var marks = line.Split("\"\"\"").Length - 1;
            var isFree = (inRawText || marks > 0) && file.StartsWith("tests/", StringComparison.Ordinal);
            if (line.Length > WidestLine && !isFree)
                yield return $"{file}:{index + 1}: {line.Trim()}";
            inRawText ^= marks % 2 == 1;
        }
    }

    [Fact]
    public void No_source_file_lies_deeper_than_room_and_folder() =>
        RepositoryFiles.AssertNone(
            Sources().Where(file => file.Count(c => c == '/') > 3),
            "sources lie at src/Peft.Room/Folder/File.cs at most:");

    [Fact]
    public void The_house_has_not_grown_beyond_430_source_files() =>
        Assert.InRange(Sources().Count, 1, MostSourceFiles);

    [Theory]
    [MemberData(nameof(Rooms))]
    public void Every_namespace_is_its_folder(string room)
    {
        var findings =
            from file in RepositoryFiles.Below($"src/Peft.{room}", ".cs")
            let expected = Path.GetDirectoryName(file)!["src/".Length..].Replace('/', '.')
            from match in Namespace().Matches(RepositoryFiles.Text(file))
            where match.Groups[1].Value != expected
            select $"{file}: namespace {match.Groups[1].Value}; expected {expected}";
        RepositoryFiles.AssertNone(findings, "a folder is a namespace:");
    }

    [Theory]
    [MemberData(nameof(Rooms))]
    public void Every_room_says_in_its_readme_what_each_of_its_folders_holds(string room)
    {
        var readme = RepositoryFiles.Text($"src/Peft.{room}/README.md");
        var folders = RepositoryFiles.Below($"src/Peft.{room}", ".cs")
            .Select(file => file.Split('/')).Where(parts => parts.Length > 3).Select(parts => parts[2]).Distinct();
        RepositoryFiles.AssertNone(
            folders.Where(folder => !readme.Contains($"`{folder}/`", StringComparison.Ordinal)).Select(
                folder => $"`{folder}/`"),
            $"folders that src/Peft.{room}/README.md does not name:");
    }

    [Fact]
    public void Every_folder_of_the_plan_exists_and_every_folder_is_in_the_plan()
    {
        var rows = RepositoryFiles.Lines("src/README.md").Where(
            line => line.StartsWith("| `Peft.", StringComparison.Ordinal)).ToList();
        var findings =
            from row in rows
            let cells = row.Split('|', StringSplitOptions.TrimEntries)
            let room = cells[1].Trim('`')
            let planned = Folder().Matches(cells[4]).Select(match => match.Groups[1].Value).ToHashSet()
            let actual = RepositoryFiles.Below($"src/{room}",
                ".cs").Select(file => file.Split('/')).Where(p => p.Length > 3).Select(p => p[2]).ToHashSet()
            from folder in planned.Except(actual).Select(name => $"{room}: {name} is in the plan only")
                .Concat(actual.Except(planned).Select(name => $"{room}: {name} is not in the plan"))
            select folder;
        Assert.Equal(ReferenceDirectionTests.Rooms.Count, rows.Count);
        RepositoryFiles.AssertNone(findings, "src/README.md, the table of rooms:");
    }

    [Fact]
    public void Messages_have_the_one_form_and_not_parts_between_dashes() =>
        RepositoryFiles.AssertNone(
            RepositoryFiles.Findings(Sources(),
                line =>
                Literal().Matches(Hole().Replace(Comment().Replace(line, ""), "{}")).Any(
                    text => Dash().IsMatch(text.Value))),
            "write place: found; expected this. Do that. (UserException.At, Faults.Add):");

    [Fact]
    public void Nothing_that_people_read_has_words_that_are_not_those_of_the_field()
    {
        var files = Sources().Concat(RepositoryFiles.Below("", ".md", ".yaml", ".html", ".txt"));
        RepositoryFiles.AssertNone(
            RepositoryFiles.Findings(files,
                line => Unwanted.Any(word => line.Contains(word, StringComparison.Ordinal))),
            $"say it as the field does (trainable parameters, 95%, ...); not: {string.Join(", ", Unwanted)}");
    }

    [Fact]
    public void No_null_check_repeats_the_compiler() =>
        RepositoryFiles.AssertNone(
            RepositoryFiles.Findings(Sources(), line => line.Contains("ThrowIfNull(", StringComparison.Ordinal)),
            "nullable references are checked by the compiler:");

    private static IReadOnlyList<string> Sources() => RepositoryFiles.Below("src", ".cs");

    private static IEnumerable<string> Code() =>
        Sources().Concat(RepositoryFiles.Below("tests", ".cs")).Concat(RepositoryFiles.Below("data", ".cs"));

    [GeneratedRegex(@"^namespace ([\w.]+)", RegexOptions.Multiline)]
    private static partial Regex Namespace();

    [GeneratedRegex("`([A-Za-z]+)`")]
    private static partial Regex Folder();

    [GeneratedRegex(@"(^|\s)//.*$")]
    private static partial Regex Comment();

    [GeneratedRegex(@"\{[^{}]*\}")]
    private static partial Regex Hole();

    [GeneratedRegex("""
        "(?:[^"\\]|\\.)*"
        """)]
    private static partial Regex Literal();

    // A number may follow: 2^63 - 1.
    [GeneratedRegex(@" - (?!\d)")]
    private static partial Regex Dash();
}
