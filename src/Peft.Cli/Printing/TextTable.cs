using System.Text;
using Peft.Formats;

namespace Peft.Cli.Printing;

/// <summary>A table in plain text: a column of numbers is aligned right, any other left.</summary>
public sealed class TextTable(params string[] headings)
{
    private readonly List<string[]> _rows = [];

    /// <summary>
    /// Adds a row with one cell a heading; names from files are shown with control characters escaped.
    /// </summary>
    public void Add(params string[] cells) => _rows.Add([.. cells.Select(Quote.Escaped)]);

    /// <summary>The table, one line a row, with a rule under the headings.</summary>
    public override string ToString()
    {
        var widths = headings.Select((h, i) => _rows.Select(r => r[i].Length).Append(h.Length).Max()).ToArray();
        var numeric = headings.Select((_, i) => i > 0 && _rows.All(r => r[i].All(c => !char.IsLetter(c)))).ToArray();
        var text = new StringBuilder();
        Line(headings);
        text.AppendLine(new string('-', widths.Sum() + 2 * (widths.Length - 1)));
        foreach (var row in _rows)
            Line(row);
        return text.ToString().TrimEnd();

        void Line(string[] cells)
        {
            var padded = cells.Select((c, i) => numeric[i] ? c.PadLeft(widths[i]) : c.PadRight(widths[i]));
            text.AppendLine(string.Join("  ", padded).TrimEnd());
        }
    }
}
