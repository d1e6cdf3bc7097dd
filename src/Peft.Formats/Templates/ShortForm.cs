using System.Text.RegularExpressions;
using Scriban.Parsing;
using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>The short form: <c>{name}</c> outside of <c>{{ }}</c> stands for <c>{{ name }}</c>. What does not look like a name, such as
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
        return new ScriptExpressionStatement { Expression = new ScriptVariableGlobal(name.Groups[1].Value) { Span = span }, Span = span };
    }

    private static SourceSpan Span(ScriptRawStatement raw, string text, int start, int end) =>
        new(raw.Span.FileName, Position(raw.Span.Start, text, start), Position(raw.Span.Start, text, Math.Max(start, end - 1)));

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
