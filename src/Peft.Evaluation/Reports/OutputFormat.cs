using System.Text;

namespace Peft.Evaluation.Reports;

/// <summary>What a template writes, which decides how data is made harmless in it.</summary>
public enum OutputFormat
{
    /// <summary>HTML: markup characters become entities.</summary>
    Html,

    /// <summary>Markdown: markup characters get a backslash, line ends become spaces.</summary>
    Markdown,

    /// <summary>Plain text: control characters become visible.</summary>
    Text,
}

/// <summary>Writes data into a format so that it can be nothing but text.</summary>
internal static class DataEncoder
{
    /// <summary>The text as it is put into the output.</summary>
    public static string Encode(OutputFormat format, string text)
    {
        var target = new StringBuilder(text.Length);
        for (var i = 0; i < text.Length; i++)
            Append(format, text, i, target);
        return target.ToString();
    }

    private static void Append(OutputFormat format, string text, int i, StringBuilder target)
    {
        var c = text[i];
        var isLine = c is '\n' or '\t' or '\r';
        if (c < ' ' && !isLine || c == '\x7f')
            target.Append((char)(c == '\x7f' ? '\u2421' : '\u2400' + c)); // the picture of the control character
        else if (char.IsControl(c) && !isLine || IsDirection(c))
            target.Append('\uFFFD');
        else if (format == OutputFormat.Html)
            AppendHtml(c, target);
        else if (format == OutputFormat.Markdown)
            AppendMarkdown(text, i, target);
        else
            target.Append(c);
    }

    // Marks that turn the direction of what follows could make one text look like another.
    private static bool IsDirection(char c) => c is >= '\u202A' and <= '\u202E' or >= '\u2066' and <= '\u2069';

    private static void AppendHtml(char c, StringBuilder target)
    {
        if (c is '<' or '>' or '&' or '"' or '\'' or '`' or '=')
            target.Append("&#").Append((int)c).Append(';');
        else
            target.Append(c);
    }

    private static void AppendMarkdown(string text, int i, StringBuilder target)
    {
        var c = text[i];
        if (c is '<')
            target.Append("&lt;");
        else if (c is '\n' or '\r' or '\t')
            target.Append(' ');
        else if (IsMarkdownMark(text, i))
            target.Append('\\').Append(c);
        else
            target.Append(c);
    }

    private static bool IsMarkdownMark(string text, int i) => text[i] switch
    {
        '\\' or '`' or '*' or '[' or ']' or '|' or '&' or '~' or '$' => true,
        '_' => i == 0 || i + 1 == text.Length || !char.IsLetterOrDigit(text[i - 1]) || !char.IsLetterOrDigit(text[i + 1]), // none inside a word
        '#' or '>' => i == 0, // marks at the start of a line only
        '/' => i > 0 && text[i - 1] == ':', // an address is not to become a link
        '.' => text.AsSpan(0, i).EndsWith("www", StringComparison.OrdinalIgnoreCase),
        _ => false,
    };
}
