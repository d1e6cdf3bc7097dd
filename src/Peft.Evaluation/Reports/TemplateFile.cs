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
        [".html"] = OutputFormat.Html, [".htm"] = OutputFormat.Html, [".md"] = OutputFormat.Markdown, [".txt"] = OutputFormat.Text,
    };

    private static readonly string[] Endings = [".sbn", ".scriban"]; // what editors know the language by

    /// <summary>Names of the templates that come with the program.</summary>
    public static IReadOnlyList<string> BuiltIn { get; } = ["report.html", "report.md", "model-card.md", "summary.txt"];

    /// <summary>The template with this name, or in this file.</summary>
    /// <exception cref="UserException">Neither a name nor a file; a file whose name does not say what it writes; no text.</exception>
    public static TemplateFile Find(string nameOrPath)
    {
        if (BuiltIn.Contains(nameOrPath))
            return new(nameOrPath, Resource(nameOrPath), FormatOf(nameOrPath)!.Value);
        if (!File.Exists(nameOrPath))
            throw new UserException($"--template {nameOrPath}: neither a file nor a template that comes with peft ({string.Join(", ", BuiltIn)})"
                + (NearestName.Of(nameOrPath, BuiltIn) is { } near ? $" - did you mean {near}?" : ""));
        if (FormatOf(nameOrPath) is not { } format)
            throw new UserException(
                $"{nameOrPath}: its name does not say what it writes - .html, .md or .txt, with or without .sbn or .scriban behind - rename it: data is made harmless by what is written");
        try
        {
            var bytes = BoundedFile.ReadAllBytes(nameOrPath, LargestFile);
            return new(nameOrPath, new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes).TrimStart('\uFEFF'), format);
        }
        catch (DecoderFallbackException e)
        {
            throw new UserException($"{nameOrPath}: not a text in UTF-8 - save it as UTF-8", e);
        }
    }

    /// <summary>A file that is built into the program.</summary>
    internal static string Resource(string name)
    {
        var assembly = Assembly.GetExecutingAssembly();
        using var stream = assembly.GetManifestResourceStream($"Templates/{name}") ?? throw new InvalidOperationException($"no resource {name}");
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }

    private static OutputFormat? FormatOf(string path)
    {
        var name = Endings.FirstOrDefault(end => path.EndsWith(end, StringComparison.OrdinalIgnoreCase)) is { } ending ? path[..^ending.Length] : path;
        return Extensions.TryGetValue(Path.GetExtension(name), out var format) ? format : null;
    }
}
