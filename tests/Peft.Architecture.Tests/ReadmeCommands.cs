using System.Text.RegularExpressions;

namespace Peft.Architecture.Tests;

/// <summary>The shell commands in the fenced blocks of a Markdown file.</summary>
internal static partial class ReadmeCommands
{
    private static readonly string[] ShellBlocks = ["sh", "bash", "shell", "console"];

    /// <summary>
    /// Each command as its words: continuation lines joined, comments and prompts removed, pipes and lists split,
    /// assignments before the program dropped.
    /// </summary>
    public static IEnumerable<string[]> Of(string markdown)
    {
        foreach (var block in Blocks(markdown))
        {
            var joined = block.Replace("\\\n", " ", StringComparison.Ordinal);
            foreach (var line in joined.Split('\n'))
            {
                foreach (var command in Separator().Split(WithoutComment(line)))
                {
                    string[] words =
                        [.. Word().Matches(command).Select(match => match.Value).SkipWhile(word => word == "$"
                        || Assignment().IsMatch(word))];
                    if (words.Length > 0)
                        yield return words;
                }
            }
        }
    }

    public static bool IsAssignment(string word) => Assignment().IsMatch(word);

    private static IEnumerable<string> Blocks(string markdown)
    {
        var lines = new List<string>();
        string? language = null;
        foreach (var line in markdown.ReplaceLineEndings("\n").Split('\n'))
        {
            var trimmed = line.TrimStart();
            if (!trimmed.StartsWith("```", StringComparison.Ordinal))
            {
                lines.Add(trimmed);
                continue;
            }
            if (language is not null && ShellBlocks.Contains(language))
                yield return string.Join('\n', lines);
            language = language is null ? trimmed[3..].Trim() : null;
            lines.Clear();
        }
    }

    private static string WithoutComment(string line) => Comment().Replace(line, "");

    // A separator inside quotes is part of a word; the blocks of this repository quote only values.
    [GeneratedRegex("""(?:&&|\|\||;|\|)(?=(?:[^'"]*['"][^'"]*['"])*[^'"]*$)""")]
    private static partial Regex Separator();

    [GeneratedRegex("""(?:^|\s)#(?=(?:[^'"]*['"][^'"]*['"])*[^'"]*$).*$""")]
    private static partial Regex Comment();

    [GeneratedRegex("""(?:[^\s'"]|'[^']*'|"[^"]*")+""")]
    private static partial Regex Word();

    [GeneratedRegex(@"^[A-Za-z_][A-Za-z0-9_]*=")]
    private static partial Regex Assignment();
}
