using System.Text;
using Peft.Formats;

namespace Peft.Data.Examples;

/// <summary>Text with <c>{column}</c> where a column's value goes; <c>{{</c> and <c>}}</c> are the braces themselves.</summary>
public sealed class TextTemplate
{
    // Pieces alternate: literal, column, literal, column, ..., literal.
    private readonly List<string> _pieces;

    private TextTemplate(string text, List<string> pieces)
    {
        Text = text;
        _pieces = pieces;
        Columns = [.. pieces.Where((_, at) => at % 2 == 1).Distinct(StringComparer.Ordinal)];
    }

    /// <summary>The template as written.</summary>
    public string Text { get; }

    /// <summary>The columns named, in order of first use.</summary>
    public IReadOnlyList<string> Columns { get; }

    /// <summary>Parses a template.</summary>
    /// <exception cref="FormatException">A brace is not closed or not opened, or names nothing.</exception>
    public static TextTemplate Parse(string text)
    {
        var pieces = new List<string>();
        var literal = new StringBuilder();
        for (var at = 0; at < text.Length; at++)
        {
            if (text[at] is not ('{' or '}'))
            {
                literal.Append(text[at]);
            }
            else if (at + 1 < text.Length && text[at + 1] == text[at])
            {
                literal.Append(text[at++]);
            }
            else
            {
                var end = text[at] == '{' ? text.IndexOf('}', at) : -1;
                var name = end < 0 ? null : text[(at + 1)..end];
                if (string.IsNullOrWhiteSpace(name) || name.Contains('{', StringComparison.Ordinal))
                    throw new FormatException($"'{text[at]}' at character {at + 1} of {Quote.Of(text)} belongs to no {{column}}");
                pieces.Add(literal.ToString());
                pieces.Add(name);
                literal.Clear();
                at = end;
            }
        }

        pieces.Add(literal.ToString());
        return new TextTemplate(text, pieces);
    }

    /// <summary>Fills the columns in.</summary>
    public string Render(Func<string, string> valueOf)
    {
        if (_pieces.Count == 3 && _pieces[0].Length == 0 && _pieces[2].Length == 0)
            return valueOf(_pieces[1]);
        var text = new StringBuilder();
        for (var at = 0; at < _pieces.Count; at++)
            text.Append(at % 2 == 0 ? _pieces[at] : valueOf(_pieces[at]));
        return text.ToString();
    }
}
