using Peft.Formats.Templates;
using Scriban.Runtime;

namespace Peft.Data.Examples;

/// <summary>Text with a row's values in it: <c>{{ title | string.downcase }}</c> in Scriban's language, <c>{title}</c>
/// for short.</summary>
public sealed class TextTemplate
{
    private readonly ParsedTemplate? _parsed; // null: the text stands for itself

    private TextTemplate(string text, ParsedTemplate? parsed) => (Text, _parsed) = (text, parsed);

    /// <summary>The template as written.</summary>
    public string Text { get; }

    /// <summary>The template read; null for a text that stands for itself.</summary>
    public ParsedTemplate? Parsed => _parsed;

    /// <summary>Whether any value of a row goes in.</summary>
    public bool HasValues =>
        _parsed is not null && (_parsed.UsesAll || _parsed.Names.Any(name => !TemplateFunctions.Names.Contains(name)));

    /// <summary>Parses a template.</summary>
    /// <param name="text">The text.</param>
    /// <param name="place">Where it is written, for messages.</param>
    /// <exception cref="TemplateException">Its syntax is wrong; it has all faults.</exception>
    public static TextTemplate Parse(string text, string place = "template") =>
        new(text, ParsedTemplate.Parse(text, place, shortForm: true));

    /// <summary>A text without values, in which braces are braces.</summary>
    public static TextTemplate Literal(string text) => new(text, null);

    /// <summary>Fills a row's values in.</summary>
    /// <exception cref="TemplateException">The template cannot be carried out with them.</exception>
    public string Render(TemplateEngine engine, ScriptObject row) =>
        _parsed is null ? Text : engine.Render(_parsed, row);
}
