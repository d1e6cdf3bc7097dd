using System.Globalization;
using System.Text;

namespace Peft.Formats;

/// <summary>One thing that is wrong in what the user gave.</summary>
/// <param name="Place">Where: a line and key, a file, a tensor.</param>
/// <param name="Found">What is there, as words that may follow a colon: <c>'abc'</c>, <c>no such file</c>.</param>
/// <param name="Expected">What should be there, as words that follow "expected"; null where the advice says it
/// all.</param>
/// <param name="Advice">What to do, as a sentence; its capital and full stop are added.</param>
public sealed record Fault(string Place, string Found, string? Expected = null, string? Advice = null)
{
    /// <summary>The house's form of every message: <c>place: found; expected this. Do that.</c></summary>
    public static string Text(string place, string found, string? expected = null, string? advice = null) =>
        new Fault(place, found, expected, advice).ToString();

    /// <inheritdoc/>
    public override string ToString() => $"{Place}: {Sentence}";

    /// <summary>The message without its place.</summary>
    internal string Sentence
    {
        get
        {
            var sentence = Ended(Expected is null ? Found : $"{Found}; expected {Expected}");
            return Advice is null ? sentence : $"{sentence} {Ended(char.ToUpperInvariant(Advice[0]) + Advice[1..])}";
        }
    }

    private static string Ended(string sentence) => sentence[^1] is '.' or '?' or '!' ? sentence : sentence + ".";
}

/// <summary>Collects faults so that all of them are told at once.</summary>
public sealed class Faults
{
    // A longer place runs over: it must not push every other line off the screen.
    private const int WidestPlace = 44;
    // A file that is wrong throughout shall not fill the terminal.
    private const int MostShown = 50;
    // A hostile one shall not fill the memory either: what comes after these is only counted.
    private const int MostKept = 1000;
    // What the place of a value begins with under a title that names its file.
    private const string Line = "line ";
    private readonly List<Fault> _items = [];
    private readonly HashSet<Fault> _seen = [];
    private int _notKept;

    /// <summary>The faults so far, in the order they were met; the first thousand.</summary>
    public IReadOnlyList<Fault> Items => _items;

    /// <summary>True when at least one fault was added.</summary>
    public bool Any => _items.Count > 0;

    /// <summary>Notes a fault; the same fault again is not noted twice.</summary>
    public void Add(string place, string found, string? expected = null, string? advice = null) =>
        Add(new Fault(place, found, expected, advice));

    /// <summary>The same.</summary>
    public void Add(Fault fault)
    {
        if (_items.Count == MostKept)
            _notKept++;
        else if (_seen.Add(fault))
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

    /// <summary>The same for the words of a command line, where one fault needs no title.</summary>
    /// <exception cref="UserException">There is at least one.</exception>
    public void ThrowIfAny()
    {
        if (_items is [var one])
            throw new FaultsException(one.ToString(), [one]);
        ThrowIfAny("the command line");
    }

    private string Describe(string title)
    {
        var places = _items.Select(fault => fault.Place.Length).Where(length => length <= WidestPlace);
        var width = places.DefaultIfEmpty(0).Max();
        var count = _items.Count + _notKept;
        var text = new StringBuilder($"{title} has {count} fault{(count == 1 ? "" : "s")}:");
        // As one reads the file; what has no line (a key that is missing) after that.
        foreach (var fault in _items.OrderBy(LineOf).Take(MostShown))
            text.Append("\n  ").Append(fault.Place.PadRight(width)).Append("  ").Append(fault.Sentence);
        if (count > MostShown)
            text.Append("\n  ... and ").Append(count - MostShown).Append(" more");
        return text.ToString();
    }

    private static int LineOf(Fault fault) => fault.Place.StartsWith(Line, StringComparison.Ordinal)
        && fault.Place.IndexOf(' ', Line.Length) is > 0 and var end
        && int.TryParse(fault.Place.AsSpan(Line.Length, end - Line.Length), CultureInfo.InvariantCulture, out var line)
            ? line : int.MaxValue;
}

/// <summary>Several user's mistakes told at once; made by <see cref="Faults.ThrowIfAny(string)"/>.</summary>
public sealed class FaultsException : UserException
{
    internal FaultsException(string message, IReadOnlyList<Fault> items)
        : base(message) => Items = items;

    /// <summary>The faults behind the message.</summary>
    public IReadOnlyList<Fault> Items { get; }
}

/// <summary>
/// A mistake of the person who runs the program: a bad file, key, path or value. The program prints
/// <see cref="Exception.Message"/> without a stack trace and exits 2. Every typed user error derives from it.
/// </summary>
public class UserException : Exception
{
    /// <summary>Makes the error with its full text.</summary>
    public UserException(string message)
        : base(message)
    {
    }

    /// <summary>The same, keeping the error that was met underneath.</summary>
    public UserException(string message, Exception inner)
        : base(message, inner)
    {
    }

    /// <summary>The error in the house's form; see <see cref="Fault"/> for the parts.</summary>
    public static UserException At(
        string place, string found, string? expected = null, string? advice = null, Exception? inner = null)
    {
        var message = Fault.Text(place, found, expected, advice);
        return inner is null ? new UserException(message) : new UserException(message, inner);
    }
}
