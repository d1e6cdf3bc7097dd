using System.IO.Compression;
using System.Text.RegularExpressions;
using Peft.Prepare.Texts;

namespace Peft.Prepare.Sources;

/// <summary>A word of the dictionary.</summary>
/// <param name="Head">The word and its part of speech as the dictionary writes them: <c>Lapidate, v. t.</c></param>
/// <param name="Senses">What it means, a paragraph a sense, a note or a quotation.</param>
internal sealed record WebsterEntry(string Head, IReadOnlyList<string> Senses);

/// <summary>
/// Webster's dictionary of 1913, out of the Collaborative International Dictionary of English: the paragraphs that are
/// marked as its own and no others (later ones are taken from WordNet, or belong to their writers).
/// </summary>
internal static partial class Webster
{
    public const string Package = "dict-gcide";

    private const string Mark = "[1913 Webster]";
    private const string DatabaseInformation = "00-database";

    /// <summary>The entries in the order of the dictionary; those that Webster does not begin are left out.</summary>
    public static IEnumerable<WebsterEntry> Entries(InstalledPackages packages)
    {
        var lines = packages.Read(Package, files =>
            Inflated.Text(new GZipStream(new MemoryStream(files[0]), CompressionMode.Decompress))).Split('\n');
        for (var start = 0; start < lines.Length;)
        {
            var end = start + 1;
            while (end < lines.Length && !IsHead(lines[end]))
                end++;
            if (IsHead(lines[start]) && EntryOf(lines[start..end]) is { } entry)
                yield return entry;
            start = end;
        }
    }

    // Words of a head stand at the margin, everything else is indented.
    private static bool IsHead(string line) =>
        line.Length > 0 && line[0] != ' ' && !line.StartsWith(DatabaseInformation, StringComparison.Ordinal);

    private static WebsterEntry? EntryOf(string[] lines)
    {
        var paragraphs = new List<string>();
        var paragraph = new List<string>();
        foreach (var line in lines.Select(WhiteSpace.Trim))
        {
            if (!SourceMark().IsMatch(line))
            {
                paragraph.Add(line);
                continue;
            }

            if (line == Mark)
                paragraphs.Add(WhiteSpace.Collapse(string.Join(' ', paragraph)));
            else if (paragraphs.Count == 0)
                return null;
            paragraph.Clear();
        }

        if (paragraphs.Count == 0)
            return null;
        var (head, sense) = Parted(paragraphs[0]);
        string[] senses = [.. paragraphs.Skip(1).Prepend(sense).Select(Plain).Where(text => text.Length > 0)];
        return senses.Length > 0 ? new(Plain(head), senses) : null;
    }

    // Without the braces of references; letters with an accent ([e^], ["o]) and ligatures ([ae]) as plain ones.
    private static string Plain(string text) => Letter().Replace(
        text.Replace("{", "", StringComparison.Ordinal).Replace("}", "", StringComparison.Ordinal), "$1$2");

    /// <summary>The head and the sense behind it: pronunciation and etymology left out.</summary>
    public static (string Head, string Sense) Parted(string paragraph)
    {
        var text = WhiteSpace.Collapse(Pronunciation().Replace(paragraph, ""));
        var end = HeadOf().Match(text).Length;
        var sense = text[end..];
        while (sense.StartsWith('['))
            sense = WhiteSpace.Trim(sense[Closing(sense)..]);
        return (WhiteSpace.Trim(text[..end]), sense);
    }

    // Behind the bracket that closes the first one; the end of the text where none does.
    private static int Closing(string text)
    {
        var depth = 0;
        for (var i = 0; i < text.Length; i++)
        {
            depth += text[i] switch { '[' => 1, ']' => -1, _ => 0 };
            if (depth == 0)
                return i + 1;
        }

        return text.Length;
    }

    // A line of nothing but brackets ends a paragraph and says where it is from.
    [GeneratedRegex(@"\A\[[^\[\]]*\]\z")]
    private static partial Regex SourceMark();

    // \Lap"i*date\, sometimes with the sounds in parentheses behind it.
    [GeneratedRegex(@" *\\[^\\]*\\(?: *\([^()]*\))?")]
    private static partial Regex Pronunciation();

    // The words, and after a comma abbreviations: n., v. t., a. & adv., n. pl.
    [GeneratedRegex(@"\A[^\[.]{1,80}?,(?: (?:&|or|[a-z]{1,5}\.))+(?: |\z)")]
    private static partial Regex HeadOf();

    [GeneratedRegex("""\[(?:['`^"~,=]?([A-Za-z])[\^]?|([AaOo][Ee]))\]""")]
    private static partial Regex Letter();
}
