namespace Peft.Evaluation.Reports;

/// <summary>One tag of a template.</summary>
/// <param name="Line">Its line, from 1.</param>
/// <param name="Source">As it is written.</param>
/// <param name="Kind">'#' opens a block, '/' closes one, 'e' is an else, ' ' prints, '>' is a partial, '!' is not closed.</param>
/// <param name="Words">Its words; a text in quotes keeps them.</param>
internal sealed record TemplateTag(int Line, string Source, char Kind, IReadOnlyList<string> Words)
{
    /// <summary>Whether it asks to print without making data harmless.</summary>
    public bool IsRaw => Source.StartsWith("{{{", StringComparison.Ordinal) || Source.TrimStart('{', '~', ' ').StartsWith('&');

    /// <summary>Its first word; empty where it has none.</summary>
    public string Name => Words.Count > 0 ? Words[0] : "";

    /// <summary>The tags of a template, comments left out.</summary>
    public static IEnumerable<TemplateTag> Of(string text)
    {
        var line = 1;
        var counted = 0;
        for (var start = text.IndexOf("{{", StringComparison.Ordinal); start >= 0;)
        {
            line += text.AsSpan(counted, start - counted).Count('\n');
            counted = start;
            if (start > 0 && text[start - 1] == '\\')
            {
                start = text.IndexOf("{{", start + 2, StringComparison.Ordinal);
                continue;
            }
            var (open, close) = text.AsSpan(start).StartsWith("{{!--") ? ("{{!--", "--}}")
                : text.AsSpan(start).StartsWith("{{~!--") ? ("{{~!--", "--") : text.AsSpan(start).StartsWith("{{{") ? ("{{{", "}}}") : ("{{", "}}");
            var end = text.IndexOf(close, start + open.Length, StringComparison.Ordinal);
            if (end < 0)
            {
                yield return new(line, text.AsSpan(start).ToString().Split('\n')[0], '!', []);
                yield break;
            }
            var inner = text[(start + open.Length)..end].Trim('~', ' ', '\n', '\r', '\t');
            if (!open.EndsWith("!--", StringComparison.Ordinal) && !inner.StartsWith('!'))
                yield return Tag(line, text[start..(end + close.Length)], inner);
            start = text.IndexOf("{{", end + close.Length, StringComparison.Ordinal);
        }
    }

    private static TemplateTag Tag(int line, string source, string inner)
    {
        if (inner.StartsWith('#') || inner.StartsWith('/') || inner.StartsWith('>'))
            return new(line, source, inner[0], Split(inner[1..]));
        var words = Split(inner.TrimStart('&'));
        return words.Count > 0 && words[0] is "else" or "^" ? new(line, source, 'e', [.. words.Skip(1)]) : new(line, source, ' ', words);
    }

    private static List<string> Split(string inner)
    {
        var words = new List<string>();
        for (var i = 0; i < inner.Length;)
        {
            if (char.IsWhiteSpace(inner[i]))
            {
                i++;
                continue;
            }
            var start = i;
            if (inner[i] is '"' or '\'')
            {
                i = inner.IndexOf(inner[i], i + 1) is var close and >= 0 ? close + 1 : inner.Length;
            }
            else if (inner[i] is '|' or '(' or ')')
            {
                i++;
            }
            else
            {
                while (i < inner.Length && !char.IsWhiteSpace(inner[i]) && inner[i] is not ('|' or '(' or ')'))
                    i++;
            }
            words.Add(inner[start..i]);
        }
        return words;
    }
}
