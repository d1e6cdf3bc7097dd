using System.Text.RegularExpressions;
using Scriban;
using Scriban.Parsing;
using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>A text with <c>{{ }}</c>, or one bare expression, in Scriban's language (https://scriban.github.io/docs),
/// read and checked.</summary>
public sealed class ParsedTemplate
{
    /// <summary>Most brackets, operators and blocks in one another: what reads and checks them calls itself.</summary>
    internal const int DeepestNesting = 100;

    private const int ShownCode = 60;
    private const int MostFaults = 50; // of one text
    private readonly List<ScriptVariable> _uses;

    private ParsedTemplate(string text, string name, ScriptNode root)
    {
        (Text, Name, Root) = (text, name, root);
        var names = new TemplateNames();
        root.Accept(names);
        _uses = [.. names.FromOutside];
        UsesAll = names.UsesAll;
        Names = [.. _uses.Select(use => use.Name).Distinct(StringComparer.Ordinal)];
    }

    /// <summary>The text as written.</summary>
    public string Text { get; }

    /// <summary>Its name in messages: a file, or a recipe's key.</summary>
    public string Name { get; }

    /// <summary>The names that it takes from outside, functions among them, in order of first use.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>Whether it may take every name (<c>this</c>, <c>import</c>).</summary>
    public bool UsesAll { get; }

    /// <summary>The tree that was read, for checks before it is rendered.</summary>
    public ScriptNode Root { get; }

    /// <summary>Reads a text with <c>{{ }}</c>.</summary>
    /// <param name="text">The text.</param>
    /// <param name="name">Its name in messages.</param>
    /// <param name="shortForm">Whether <c>{name}</c> outside of <c>{{ }}</c> stands for <c>{{ name }}</c>.</param>
    /// <exception cref="TemplateException">Its syntax is wrong; all faults are told.</exception>
    public static ParsedTemplate Parse(string text, string name, bool shortForm = false)
    {
        var page = Page(text, name, ScriptMode.Default);
        if (shortForm)
            ShortForm.Expand(page);
        return new ParsedTemplate(text, name, page);
    }

    /// <summary>Reads a bare expression, as in a filter; <c>{{ }}</c> around it are accepted.</summary>
    /// <exception cref="TemplateException">It is none, or its syntax is wrong.</exception>
    public static ParsedTemplate ParseExpression(string text, string name)
    {
        var bare = text.Trim();
        if (bare.StartsWith("{{", StringComparison.Ordinal) && bare.EndsWith("}}", StringComparison.Ordinal)
            && bare.Length >= 4)
            bare = bare[2..^2].Trim();
        // An expression may go over lines; for Scriban a line's end ends it.
        bare = bare.ReplaceLineEndings(" ");
        if (bare.Length == 0)
            throw new TemplateException(name, [new TemplateFault(1, 1, "is empty", "one expression")]);
        var statements = Page(bare, name, ScriptMode.ScriptOnly).Body!.Statements
            .Where(statement => statement is not ScriptNopStatement).ToList();
        if (statements is [ScriptExpressionStatement { Expression: { } expression }]
            && expression is not ScriptAssignExpression)
            return new ParsedTemplate(bare, name, expression);
        var isAssignment = statements is [ScriptExpressionStatement];
        var advice = isAssignment ? "compare two values with ==" : null;
        var expected = isAssignment ? "an expression, not an assignment" : "one expression";
        throw new TemplateException(name, [new TemplateFault(1, 1, Quote.Of(bare), expected, advice)]);
    }

    /// <summary>The faults of names that are not known.</summary>
    /// <param name="known">The names that will be there; functions need not be among them.</param>
    /// <param name="isFunction">Tells the names of functions.</param>
    public IReadOnlyList<TemplateFault> Unknown(IReadOnlyCollection<string> known, Func<string, bool> isFunction)
    {
        return [.. _uses.DistinctBy(use => use.Name).Where(use => !known.Contains(use.Name) && !isFunction(use.Name))
            .Select(use => TemplateFaults.UnknownName(use.Span, use.Name, known))];
    }

    /// <summary>The code at a place of the text, for messages.</summary>
    public string Code(SourceSpan span)
    {
        var (start, end) = (
            Math.Clamp(span.Start.Offset, 0, Text.Length), Math.Clamp(span.End.Offset + 1, 0, Text.Length));
        var code = end > start ? Text[start..end].Trim() : "";
        return code.Length > ShownCode ? string.Concat(code.AsSpan(0, ShownCode), "...") : code;
    }

    private static ScriptPage Page(string text, string name, ScriptMode mode)
    {
        Template template;
        try
        {
            template = Template.Parse(
                text, name, new ParserOptions { ExpressionDepthLimit = DeepestNesting },
                new LexerOptions { Mode = mode });
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            // A parser that trips over a text has read no template.
            var fault = new TemplateFault(1, 1, $"cannot be read: {error.Message}", null, TemplateFaults.Documentation);
            throw new TemplateException(name, [fault], error);
        }
        if (!template.HasErrors)
            return mode == ScriptMode.Default && Open(text) is { } open
                ? throw new TemplateException(name, [open])
                : template.Page!;
        var faults = template.Messages.Where(message => message.Type == ParserMessageType.Error).Take(MostFaults)
            .Select(message => TemplateFaults.Syntax(message, text)).DistinctBy(fault => (fault.Line, fault.Column))
            .ToList();
        throw new TemplateException(name, faults);
    }

    // Scriban reads on to the end of the text where braces are not closed.
    private static TemplateFault? Open(string text)
    {
        Token? enter = null;
        foreach (var token in new Lexer(text))
            enter = token.Type switch { TokenType.CodeEnter => token, TokenType.CodeExit => null, _ => enter };
        return enter is { } at
            ? new TemplateFault(
                at.Start.Line + 1, at.Start.Column + 1, "'{{' is not closed", "a matching '}}'",
                "write braces that are text as {{ \"{{\" }}") : null;
    }
}

/// <summary>The short form: <c>{name}</c> outside of <c>{{ }}</c> stands for <c>{{ name }}</c>. What does not look like
/// a name, such as
/// <c>{"a": 1}</c> or <c>{ }</c>, is text.</summary>
internal static partial class ShortForm
{
    public static void Expand(ScriptPage page) => page.Accept(new Expander());

    [GeneratedRegex(@"\{([\p{L}_](?:[\p{L}\p{N}_ .\-]*[\p{L}\p{N}_])?)\}")]
    private static partial Regex Name();

    private static void Expand(ScriptList<ScriptStatement> statements)
    {
        for (var at = statements.Count - 1; at >= 0; at--)
        {
            if (statements[at] is not ScriptRawStatement { IsEscape: false } raw)
                continue;
            var text = raw.Text.ToString();
            var names = Name().Matches(text);
            if (names.Count == 0)
                continue;
            statements.RemoveAt(at);
            var (end, insertAt) = (0, at);
            foreach (Match name in names)
            {
                if (name.Index > end)
                    statements.Insert(insertAt++, Literal(raw, text, end, name.Index));
                statements.Insert(insertAt++, Value(raw, text, name));
                end = name.Index + name.Length;
            }

            if (end < text.Length)
                statements.Insert(insertAt, Literal(raw, text, end, text.Length));
        }
    }

    private static ScriptRawStatement Literal(ScriptRawStatement raw, string text, int start, int end) => new()
    {
        Text = new ScriptStringSlice(text[start..end]),
        Span = Span(raw, text, start, end),
    };

    private static ScriptExpressionStatement Value(ScriptRawStatement raw, string text, Match name)
    {
        var span = Span(raw, text, name.Index, name.Index + name.Length);
        var variable = new ScriptVariableGlobal(name.Groups[1].Value) { Span = span };
        return new ScriptExpressionStatement { Expression = variable, Span = span };
    }

    private static SourceSpan Span(ScriptRawStatement raw, string text, int start, int end) =>
        new(
            raw.Span.FileName, Position(raw.Span.Start, text, start),
            Position(raw.Span.Start, text, Math.Max(start, end - 1)));

    private static TextPosition Position(TextPosition from, string text, int offset)
    {
        var before = text.AsSpan(0, offset);
        var lines = before.Count('\n');
        var column = lines == 0 ? from.Column + offset : offset - before.LastIndexOf('\n') - 1;
        return new TextPosition(from.Offset + offset, from.Line + lines, column);
    }

    private sealed class Expander : ScriptVisitor
    {
        public override void Visit(ScriptBlockStatement node)
        {
            base.Visit(node);
            ShortForm.Expand(node.Statements);
        }
    }
}

/// <summary>Finds the names that a template takes from outside, and those it makes itself.</summary>
internal sealed class TemplateNames : ScriptVisitor
{
    private readonly HashSet<string> _made = new(StringComparer.Ordinal) { "for", "while", "tablerow" };

    /// <summary>The uses of names, in the order of the text.</summary>
    public List<ScriptVariable> Uses { get; } = [];

    /// <summary>Whether all names are taken at once (<c>this</c>, <c>import</c>).</summary>
    public bool UsesAll { get; private set; }

    /// <summary>Those not made by the template.</summary>
    public IEnumerable<ScriptVariable> FromOutside => Uses.Where(use => !_made.Contains(use.Name));

    public override void Visit(ScriptVariableGlobal node) => Uses.Add(node);

    public override void Visit(ScriptMemberExpression node) => node.Target?.Accept(this);

    public override void Visit(ScriptNamedArgument node) => node.Value?.Accept(this);

    public override void Visit(ScriptObjectMember node) => node.Value?.Accept(this);

    public override void Visit(ScriptThisExpression node) => UsesAll = true;

    public override void Visit(ScriptImportStatement node)
    {
        UsesAll = true;
        base.Visit(node);
    }

    public override void Visit(ScriptAssignExpression node)
    {
        Made(node.Target);
        node.Value?.Accept(this);
        if (node.Target is not ScriptVariable)
            node.Target?.Accept(this);
    }

    public override void Visit(ScriptForStatement node)
    {
        Made(node.Variable);
        base.Visit(node);
    }

    public override void Visit(ScriptTableRowStatement node)
    {
        Made(node.Variable);
        base.Visit(node);
    }

    public override void Visit(ScriptCaptureStatement node)
    {
        Made(node.Target);
        base.Visit(node);
    }

    public override void Visit(ScriptFunction node)
    {
        Made(node.NameOrDoToken);
        foreach (var parameter in node.Parameters ?? [])
            Made(parameter.Name);
        base.Visit(node);
    }

    // A parameter's name is no use of it.
    public override void Visit(ScriptParameter node) => node.DefaultValue?.Accept(this);

    private void Made(ScriptNode? node)
    {
        if (node is ScriptVariable variable)
            _made.Add(variable.Name);
    }
}
