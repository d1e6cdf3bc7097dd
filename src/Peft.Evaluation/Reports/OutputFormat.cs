using System.Text;
using HandlebarsDotNet;

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
/// <param name="format">The format.</param>
internal sealed class DataEncoder(OutputFormat format) : ITextEncoder
{
    /// <inheritdoc/>
    public IFormatProvider? FormatProvider { get; } = System.Globalization.CultureInfo.InvariantCulture;

    /// <inheritdoc/>
    public void Encode(StringBuilder? text, TextWriter target) => Encode(text?.ToString(), target);

    /// <inheritdoc/>
    public void Encode(string? text, TextWriter target)
    {
        for (var i = 0; i < (text?.Length ?? 0); i++)
            Write(text!, i, target);
    }

    /// <inheritdoc/>
    public void Encode<T>(T? text, TextWriter target)
        where T : IEnumerator<char>
    {
        var all = new StringBuilder();
        while (text?.MoveNext() == true)
            all.Append(text.Current);
        Encode(all, target);
    }

    private void Write(string text, int i, TextWriter target)
    {
        var c = text[i];
        var isLine = c is '\n' or '\t' or '\r';
        if (c < ' ' && !isLine || c == '\x7f')
            target.Write((char)(c == '\x7f' ? '\u2421' : '\u2400' + c)); // the picture of the control character
        else if (char.IsControl(c) && !isLine || IsDirection(c))
            target.Write('\uFFFD');
        else if (format == OutputFormat.Html)
            WriteHtml(c, target);
        else if (format == OutputFormat.Markdown)
            WriteMarkdown(text, i, target);
        else
            target.Write(c);
    }

    // Marks that turn the direction of what follows could make one text look like another.
    private static bool IsDirection(char c) => c is >= '\u202A' and <= '\u202E' or >= '\u2066' and <= '\u2069';

    private static void WriteHtml(char c, TextWriter target)
    {
        if (c is '<' or '>' or '&' or '"' or '\'' or '`' or '=')
            target.Write($"&#{(int)c};");
        else
            target.Write(c);
    }

    private static void WriteMarkdown(string text, int i, TextWriter target)
    {
        var c = text[i];
        if (c is '<')
            target.Write("&lt;");
        else if (c is '\n' or '\r' or '\t')
            target.Write(' ');
        else if (IsMarkdownMark(text, i))
            target.Write($"\\{c}");
        else
            target.Write(c);
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
