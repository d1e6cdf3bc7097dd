using System.Text.RegularExpressions;

namespace Peft.Architecture.Tests;

/// <summary>What the READMEs tell people to type exists.</summary>
public sealed class ReadmeTests
{
    private static readonly string[] Verbs =
        ["init", "train", "eval", "report", "generate", "gate", "merge", "adapter", "tokenize", "render", "logits",
            "data",
            "doctor"];

    private static readonly string[] AdapterVerbs = ["inspect", "verify", "import", "export"];

    public static TheoryData<string> Readmes => [.. RepositoryFiles.Below("", ".md")];

    [Fact]
    public void Every_definition_that_is_compared_with_the_harness_names_tests_that_exist()
    {
        var text = RepositoryFiles.Text("src/Peft.Evaluation/README.md");
        var compared = text[text.IndexOf("## Beside lm-evaluation-harness", StringComparison.Ordinal)..];
        var tables = Regex.Split(compared, @"\n\| number \|.*\n\|---.*\n");
        string[] Numbers(string table) => [.. Regex.Matches(table, @"^\| ([^|]+) \|", RegexOptions.Multiline)
            .SelectMany(row => row.Groups[1].Value.Split(", "))];
        Assert.Equal(Numbers(tables[1]), Numbers(tables[2]));
        var code = string.Concat(
            RepositoryFiles.Below("tests/Peft.Evaluation.Tests", ".cs").Select(RepositoryFiles.Text));
        var named = Regex.Matches(tables[2], @"`\w*\.(\w+)`").Select(name => name.Groups[1].Value).ToList();
        Assert.True(named.Count > 15);
        RepositoryFiles.AssertNone(
            named.Where(name => !code.Contains($" {name}(", StringComparison.Ordinal)),
            "src/Peft.Evaluation/README.md: tests that do not exist:");
    }

    [Theory]
    [MemberData(nameof(Readmes))]
    public void Every_make_command_names_existing_targets(string readme)
    {
        var findings =
            from words in ReadmeCommands.Of(RepositoryFiles.Text(readme))
            where words[0] == "make"
            from target in words.Skip(1).Where(word => !ReadmeCommands.IsAssignment(word) && !word.StartsWith('-')
            && !word.StartsWith('>'))
            where !MakefileTargets.Names.Contains(target)
            select $"{string.Join(' ', words)}: no target '{target}'";
        RepositoryFiles.AssertNone(findings, $"{readme}: the Makefile has {string.Join(", ", MakefileTargets.Names)}");
    }

    [Theory]
    [MemberData(nameof(Readmes))]
    public void Every_peft_command_names_an_existing_verb(string readme)
    {
        var findings =
            from words in ReadmeCommands.Of(RepositoryFiles.Text(readme))
            where words[0] is "peft" or "bin/peft" or "./bin/peft"
            where words.Length > 1 && !words[1].StartsWith('-')
            where !Verbs.Contains(words[1])
            || (words[1] == "adapter" && words.Length > 2 && !words[2].StartsWith('-')
            && !AdapterVerbs.Contains(words[2]))
            select string.Join(' ', words);
        RepositoryFiles.AssertNone(findings, $"{readme}: the verbs are {string.Join(", ", Verbs)}");
    }

    [Theory]
    [MemberData(nameof(Readmes))]
    public void Every_recipe_in_a_command_exists(string readme)
    {
        var findings =
            from words in ReadmeCommands.Of(RepositoryFiles.Text(readme))
            from word in words
            let path = word[(word.IndexOf('=', StringComparison.Ordinal) + 1)..].Trim('\'', '"')
            where path.StartsWith("recipes/", StringComparison.Ordinal)
            && path.EndsWith(".yaml", StringComparison.Ordinal)
            where !RepositoryFiles.Exists(path)
            select string.Join(' ', words);
        RepositoryFiles.AssertNone(findings, $"{readme}: recipes that do not exist:");
    }

    [Fact]
    public void Every_verb_is_in_the_program()
    {
        var program = string.Concat(RepositoryFiles.Below("src/Peft.Cli", ".cs").Select(RepositoryFiles.Text));
        RepositoryFiles.AssertNone(
            // `adapter inspect` may be one literal or two.
            Verbs.Concat(AdapterVerbs).Where(verb => !Regex.IsMatch(program, $"\"(adapter[ -])?{verb}[\" -]")),
            "verbs that src/Peft.Cli does not have:");
    }

    [Fact]
    public void Commands_are_read_from_shell_blocks_only()
    {
        const string Markdown = """
            `make nothing` in words, then
            ```sh
            # a remark
            $ LIBTORCH=x make train RECIPE=recipes/a.yaml \
                ARGS='--set a=1; b' && bin/peft doctor | head -3   # why
            ```
            ```json
            make nothing
            ```
            """;
        string[] commands = [.. ReadmeCommands.Of(Markdown).Select(words => string.Join('~', words))];
        Assert.Equal(["make~train~RECIPE=recipes/a.yaml~ARGS='--set a=1; b'", "bin/peft~doctor", "head~-3"], commands);
    }
}
