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

    /// <summary>
    /// The table where its lines fit; else each row by itself: its texts, and below them a line a number.
    /// </summary>
    /// <param name="width">Characters of a line; null where lines may be as long as they are.</param>
    public string Fitted(int? width)
    {
        var table = ToString();
        if (width is not { } room || table.Split('\n').Max(line => line.Length) <= room)
            return table;
        var texts = Math.Max(1, IsNumeric.IndexOf(true));
        var label = headings.Skip(texts).Max(heading => heading.Length);
        return string.Join("\n\n", _rows.Select(row => string.Join('\n',
            headings.Zip(row).Skip(texts).Where(cell => cell.Second.Length > 0)
                .Select(cell => $"  {cell.First.PadRight(label)}  {cell.Second}")
                .Prepend(string.Join("  ", row.Take(texts).Where(cell => cell.Length > 0))))));
    }

    private List<bool> IsNumeric =>
        [.. headings.Select((_, i) => i > 0 && _rows.All(r => r[i].All(c => !char.IsLetter(c))))];

    /// <summary>The table, one line a row, with a rule under the headings.</summary>
    public override string ToString()
    {
        var widths = headings.Select((h, i) => _rows.Select(r => r[i].Length).Append(h.Length).Max()).ToArray();
        var numeric = IsNumeric;
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
