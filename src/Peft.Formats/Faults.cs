using System.Text;

namespace Peft.Formats;

/// <summary>Collects faults so that all of them are told at once.</summary>
public sealed class Faults
{
    // A wider column is left to run over: one long place must not push every other line off the screen.
    private const int WidestColumn = 44;
    // A file that is wrong throughout shall not fill the terminal.
    private const int MostShown = 50;
    // A hostile one shall not fill the memory either: what comes after these is only counted.
    private const int MostKept = 1000;
    private readonly List<Fault> _items = [];
    private readonly HashSet<Fault> _seen = [];
    private int _notKept;

    /// <summary>The faults so far, in the order they were met; the first thousand.</summary>
    public IReadOnlyList<Fault> Items => _items;

    /// <summary>True when at least one fault was added.</summary>
    public bool Any => _items.Count > 0;

    /// <summary>Notes a fault; the same fault again is not noted twice.</summary>
    public void Add(string place, string found, string allowed, string? advice = null)
    {
        if (_items.Count == MostKept)
        {
            _notKept++;
            return;
        }

        var fault = new Fault(place, found, allowed, advice);
        if (_seen.Add(fault))
            _items.Add(fault);
    }

    /// <summary>Does nothing when there are none.</summary>
    /// <exception cref="FaultsException">There is at least one; the message lists all of them under <paramref
    /// name="title"/>.</exception>
    public void ThrowIfAny(string title)
    {
        if (Any)
            throw new FaultsException(Describe(title), [.. _items]);
    }

    private string Describe(string title)
    {
        var placeWidth = ColumnWidth(fault => fault.Place);
        var foundWidth = ColumnWidth(fault => fault.Found);
        var text = new StringBuilder();
        var count = _items.Count + _notKept;
        text.Append(title).Append(" has ").Append(count).Append(count == 1 ? " fault:" : " faults:");
        foreach (var fault in _items.Take(MostShown))
        {
            text.Append("\n  ").Append(fault.Place.PadRight(placeWidth));
            text.Append("  ").Append(fault.Found.PadRight(foundWidth));
            text.Append("  ").Append(fault.AllowedAndAdvice);
        }

        if (count > MostShown)
            text.Append("\n  ... and ").Append(count - MostShown).Append(" more");
        return text.ToString();
    }

    private int ColumnWidth(Func<Fault, string> column) =>
        _items.Select(fault => column(fault).Length).Where(length => length <= WidestColumn).DefaultIfEmpty(0).Max();
}
