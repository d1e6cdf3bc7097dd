using System.Text;

namespace Peft.Formats;

/// <summary>Collects faults so that all of them are told at once.</summary>
public sealed class Faults
{
    // A longer place runs over: it must not push every other line off the screen.
    private const int WidestPlace = 44;
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
    public void Add(string place, string found, string? expected = null, string? advice = null)
    {
        if (_items.Count == MostKept)
        {
            _notKept++;
            return;
        }

        var fault = new Fault(place, found, expected, advice);
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
        var places = _items.Select(fault => fault.Place.Length).Where(length => length <= WidestPlace);
        var width = places.DefaultIfEmpty(0).Max();
        var count = _items.Count + _notKept;
        var text = new StringBuilder($"{title} has {count} fault{(count == 1 ? "" : "s")}:");
        foreach (var fault in _items.Take(MostShown))
            text.Append("\n  ").Append(fault.Place.PadRight(width)).Append("  ").Append(fault.Sentence);
        if (count > MostShown)
            text.Append("\n  ... and ").Append(count - MostShown).Append(" more");
        return text.ToString();
    }
}
