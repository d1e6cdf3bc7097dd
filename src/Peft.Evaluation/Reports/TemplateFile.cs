using System.Reflection;
using System.Text;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Evaluation.Reports;

/// <summary>A template: one of ours by name, or a file of the user's.</summary>
/// <param name="Name">Its name or path, for faults.</param>
/// <param name="Text">Its text.</param>
/// <param name="Format">What it writes.</param>
public sealed record TemplateFile(string Name, string Text, OutputFormat Format)
{
    private const long LargestFile = 4L << 20; // bytes

    private static readonly Dictionary<string, OutputFormat> Extensions = new(StringComparer.OrdinalIgnoreCase)
    {
        [".html"] = OutputFormat.Html, [".htm"] = OutputFormat.Html, [".md"] = OutputFormat.Markdown,
        [".txt"] = OutputFormat.Text,
    };

    private static readonly string[] Endings = [".sbn", ".scriban"]; // what editors know the language by

    /// <summary>Names of the templates that come with the program.</summary>
    public static IReadOnlyList<string> BuiltIn { get; } = ["report.html", "report.md", "model-card.md", "summary.txt"];

    /// <summary>Whether a file's name is one that the built-in templates' pages get.</summary>
    public static bool IsPage(string name) => BuiltIn.Contains(name);

    /// <summary>The template with this name, or in this file.</summary>
    /// <exception cref="UserException">Neither a name nor a file; a file whose name does not say what it writes; no
    /// text.</exception>
    public static TemplateFile Find(string nameOrPath)
    {
        if (BuiltIn.Contains(nameOrPath))
            return new(nameOrPath, Resource(nameOrPath), FormatOf(nameOrPath)!.Value);
        if (!File.Exists(nameOrPath))
            throw UserException.At(
                "--template", $"{Quote.Of(nameOrPath)} is not a file",
                $"a file, or one of peft's own templates: {Words.OneOf(BuiltIn)}",
                NearestName.Of(nameOrPath, BuiltIn) is { } near ? $"did you mean {near}?" : null);
        if (FormatOf(nameOrPath) is not { } format)
            throw UserException.At(
                nameOrPath, "the name does not tell what the template writes",
                "a name that ends in .html, .md or .txt (.sbn or .scriban may follow)",
                "rename it: how data is escaped depends on it");
        try
        {
            var bytes = BoundedFile.ReadAllBytes(nameOrPath, LargestFile);
            return new(
                nameOrPath, new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes).TrimStart('\uFEFF'),
                format);
        }
        catch (DecoderFallbackException e)
        {
            throw UserException.At(nameOrPath, "not text in UTF-8", null, "save it as UTF-8", e);
        }
    }

    /// <summary>Refuses a file whose name says that it holds something else than this template writes.</summary>
    /// <exception cref="UserException">Its ending belongs to another format.</exception>
    public void RequireFits(string file)
    {
        (string what, string[] endings) = Format switch
        {
            OutputFormat.Html => ("HTML", (string[])[".html", ".htm"]),
            OutputFormat.Markdown => ("Markdown", [".md", ".markdown", ".txt"]),
            _ => ("plain text", [".txt", ".csv", ".tsv", ".tex", ".json", ".md"]),
        };
        var ending = Path.GetExtension(file);
        if (ending.Length > 0 && !endings.Contains(ending, StringComparer.OrdinalIgnoreCase))
            throw UserException.At(
                $"--output {file}", $"ends in {ending}, and {Name} writes {what}",
                $"a name that ends in {Words.OneOf(endings)}");
    }

    /// <summary>A file that is built into the program.</summary>
    internal static string Resource(string name)
    {
        var assembly = Assembly.GetExecutingAssembly();
        using var stream = assembly.GetManifestResourceStream($"Templates/{name}")
            ?? throw new InvalidOperationException($"no resource {name}");
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }

    private static OutputFormat? FormatOf(string path)
    {
        var name = Endings.FirstOrDefault(end => path.EndsWith(end, StringComparison.OrdinalIgnoreCase)) is { } ending
            ? path[..^ending.Length] : path;
        return Extensions.TryGetValue(Path.GetExtension(name), out var format) ? format : null;
    }
}

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
        // None inside a word.
        '_' => i == 0 || i + 1 == text.Length || !char.IsLetterOrDigit(text[i - 1])
            || !char.IsLetterOrDigit(text[i + 1]),
        '#' or '>' => i == 0, // marks at the start of a line only
        '/' => i > 0 && text[i - 1] == ':', // an address is not to become a link
        '.' => text.AsSpan(0, i).EndsWith("www", StringComparison.OrdinalIgnoreCase),
        _ => false,
    };
}
