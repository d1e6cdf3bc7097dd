namespace Peft.Prepare.Texts;

/// <summary>Cuts running text into passages of at most <see cref="Length"/> UTF-16 code units.</summary>
internal static class Passages
{
    /// <summary>The longest passage.</summary>
    public const int Length = 2000;

    private static readonly string[] SentenceEnds = [". ", "? ", "! ", "; "];

    /// <summary>The paragraphs of a file: its lines without the empty ones, white space collapsed.</summary>
    public static IReadOnlyList<string> ParagraphsOf(string content)
    {
        var lines = content.Replace("\r", "", StringComparison.Ordinal).Split('\n');
        return [.. lines.Select(WhiteSpace.Collapse).Where(line => line.Length > 0)];
    }

    /// <summary>
    /// Packs paragraphs into passages, <paramref name="separator"/> between them; a longer paragraph is cut between
    /// sentences, else between words.
    /// </summary>
    public static IEnumerable<string> Of(IEnumerable<string> paragraphs, string separator)
    {
        var passage = "";
        foreach (var piece in paragraphs.SelectMany(Cut))
        {
            if (passage.Length > 0 && passage.Length + piece.Length + 1 > Length)
            {
                yield return passage;
                passage = "";
            }

            passage = passage.Length > 0 ? passage + separator + piece : piece;
        }

        if (passage.Length > 0)
            yield return passage;
    }

    /// <summary>
    /// Packs short entries into documents of a passage each. An entry longer than a passage becomes a document of its
    /// own.
    /// </summary>
    public static IEnumerable<string> Packed(IEnumerable<string> entries, string separator)
    {
        var text = "";
        foreach (var entry in entries)
        {
            if (text.Length > 0 && text.Length + entry.Length + 1 > Length)
            {
                yield return text;
                text = "";
            }

            text = text.Length > 0 ? text + separator + entry : entry;
        }

        if (text.Length > 0)
            yield return text;
    }

    private static IEnumerable<string> Cut(string paragraph)
    {
        var rest = paragraph;
        while (rest.Length > Length)
        {
            var window = rest[..Length];
            var sentence = SentenceEnds.Max(mark => window.LastIndexOf(mark, StringComparison.Ordinal)) + 1;
            var end = sentence > Length / 2 ? sentence : Math.Max(window.LastIndexOf(' '), Length / 2);
            yield return WhiteSpace.Trim(rest[..end]);
            rest = WhiteSpace.Trim(rest[end..]);
        }

        if (rest.Length > 0)
            yield return rest;
    }
}
