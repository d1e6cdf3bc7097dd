using System.Globalization;

namespace Peft.Formats.Configuration;

/// <content>The typed values.</content>
public sealed partial class OptionReader
{
    /// <summary>A whole number from <paramref name="min"/> to <paramref name="max"/>.</summary>
    public int Integer(string key, int fallback, int min = int.MinValue, int max = int.MaxValue) =>
        (int)Long(key, fallback, min, max);

    /// <summary>A whole number of 64 bits from <paramref name="min"/> to <paramref name="max"/>.</summary>
    public long Long(string key, long fallback, long min = long.MinValue, long max = long.MaxValue)
    {
        var value = FindLong(key, min, max) ?? fallback;
        Record(key, ConfigScalar.Of(value, _map.Source));
        return value;
    }

    /// <summary>A whole number, or null when absent.</summary>
    public int? OptionalInteger(string key, int min = int.MinValue, int max = int.MaxValue)
    {
        var value = (int?)FindLong(key, min, max);
        Record(key, value is { } given ? ConfigScalar.Of(given, _map.Source) : ConfigScalar.Null(_map.Source));
        return value;
    }

    /// <summary>A whole number of 64 bits, or null when absent.</summary>
    public long? OptionalLong(string key, long min = long.MinValue, long max = long.MaxValue)
    {
        var value = FindLong(key, min, max);
        Record(key, value is { } given ? ConfigScalar.Of(given, _map.Source) : ConfigScalar.Null(_map.Source));
        return value;
    }

    /// <summary>A finite number from <paramref name="min"/> to <paramref name="max"/>.</summary>
    public double Number(
        string key, double fallback, double min = double.NegativeInfinity, double max = double.PositiveInfinity) =>
        Number(key, fallback, new NumberRange(min, max));

    /// <summary>A finite number in a range.</summary>
    public double Number(string key, double fallback, NumberRange range)
    {
        var value = FindNumber(key, range) ?? fallback;
        Record(key, ConfigScalar.Of(value, _map.Source));
        return value;
    }

    /// <summary>A finite number, or null when absent.</summary>
    public double? OptionalNumber(
        string key, double min = double.NegativeInfinity, double max = double.PositiveInfinity) =>
        OptionalNumber(key, new NumberRange(min, max));

    /// <summary>A finite number in a range, or null when absent.</summary>
    public double? OptionalNumber(string key, NumberRange range)
    {
        var value = FindNumber(key, range);
        Record(key, value is { } given ? ConfigScalar.Of(given, _map.Source) : ConfigScalar.Null(_map.Source));
        return value;
    }

    /// <summary>true or false.</summary>
    public bool Boolean(string key, bool fallback)
    {
        var value = fallback;
        if (Find(key) is { } node && !(node is ConfigScalar scalar && scalar.TryBoolean(out value)))
        {
            Fault(key, node.Describe(), "true or false");
            value = fallback;
        }

        Record(key, ConfigScalar.Of(value, _map.Source));
        return value;
    }

    /// <summary>true or false, or null when absent.</summary>
    public bool? OptionalBoolean(string key)
    {
        if (Has(key))
            return Boolean(key, false);
        Record(key, ConfigScalar.Null(_map.Source));
        return null;
    }

    /// <summary>A text.</summary>
    public string Text(string key, string fallback) => RecordText(key, FindText(key) ?? fallback)!;

    /// <summary>A text, or null when absent.</summary>
    public string? OptionalText(string key) => RecordText(key, FindText(key));

    /// <summary>A text that must be there; its absence is a fault and gives the empty text.</summary>
    public string RequiredText(string key)
    {
        if (!Has(key))
            Fault(key, "missing", "a text");
        return RecordText(key, FindText(key) ?? "")!;
    }

    /// <summary>One of the texts allowed; another one is a fault that names them and the one probably meant.</summary>
    public string Choice(string key, string fallback, IReadOnlyList<string> allowed)
    {
        var value = FindText(key);
        if (value is not null && !allowed.Contains(value))
        {
            var near = NearestName.Of(value, allowed);
            Fault(key, Quote.Of(value), Words.OneOf(allowed), near is null ? null : $"did you mean {near}?");
            value = null;
        }

        return RecordText(key, value ?? fallback)!;
    }

    /// <summary>Texts: a list, or a single text for a list of one.</summary>
    public IReadOnlyList<string> Texts(string key, IReadOnlyList<string> fallback)
    {
        var values = FindItems(key, "a text or a list of texts", scalar => scalar.Text!) ?? fallback;
        Record(key, new ConfigList(_map.Source, 0, values.Select(value => ConfigScalar.Of(value, _map.Source))));
        return values;
    }

    /// <summary>Whole numbers: a list, or a single number for a list of one.</summary>
    public IReadOnlyList<int> Integers(
        string key, IReadOnlyList<int> fallback, int min = int.MinValue, int max = int.MaxValue)
    {
        var allowed = AllowedWhole(min, max) + ", or a list of them";
        int? Convert(ConfigScalar scalar) =>
            scalar.TryInteger(out var value) && value >= min && value <= max ? (int)value : null;
        var values = FindItems(key, allowed, Convert)?.Select(value => value!.Value).ToList() ?? fallback;
        Record(key, new ConfigList(_map.Source, 0, values.Select(value => ConfigScalar.Of((long)value, _map.Source))));
        return values;
    }

    /// <summary>Numbers: a list, or a single number for a list of one.</summary>
    public IReadOnlyList<double> Numbers(string key, IReadOnlyList<double> fallback, NumberRange range)
    {
        double? Convert(ConfigScalar scalar) =>
            scalar.TryNumber(out var value) && range.Contains(value) ? value : null;
        var expected = $"a number{range}, or a list of them";
        var values = FindItems(key, expected, Convert)?.Select(value => value!.Value).ToList() ?? fallback;
        Record(key, new ConfigList(_map.Source, 0, values.Select(value => ConfigScalar.Of(value, _map.Source))));
        return values;
    }

    private long? FindLong(string key, long min, long max)
    {
        if (Find(key) is not { } node)
            return null;
        if (node is ConfigScalar scalar && scalar.TryInteger(out var value) && value >= min && value <= max)
            return value;
        Fault(key, node.Describe(), AllowedWhole(min, max));
        return null;
    }

    private double? FindNumber(string key, NumberRange range)
    {
        if (Find(key) is not { } node)
            return null;
        if (node is ConfigScalar scalar && scalar.TryNumber(out var value) && range.Contains(value))
            return value;
        Fault(key, node.Describe(), $"a number{range}");
        return null;
    }

    private string? FindText(string key)
    {
        var node = Find(key);
        if (node is null or ConfigScalar)
            return (node as ConfigScalar)?.Text;
        Fault(key, node.Describe(), "a text");
        return null;
    }

    // Null when absent or when any item is wrong.
    private List<T>? FindItems<T>(string key, string allowed, Func<ConfigScalar, T?> convert)
    {
        var node = Find(key);
        if (node is null)
            return null;
        IReadOnlyList<ConfigNode> items = node is ConfigList list ? list.Items : [node];
        var values = new List<T>();
        foreach (var item in items)
        {
            if (item is ConfigScalar { IsNull: false } scalar && convert(scalar) is { } value)
            {
                values.Add(value);
                continue;
            }

            AddFault(item, Join(key), item.Describe(), allowed);
            return null;
        }

        return values;
    }

    private string? RecordText(string key, string? value)
    {
        Record(key, ConfigScalar.Of(value, _map.Source));
        return value;
    }

    private static string AllowedWhole(long min, long max) =>
        "a whole number" + (min is long.MinValue or int.MinValue, max is long.MaxValue or int.MaxValue) switch
        {
            (true, true) => "",
            (false, true) => $" of at least {min}",
            (true, false) => $" of at most {max}",
            _ => $" from {min} to {max}",
        };
}

/// <summary>The numbers that a key allows.</summary>
/// <param name="Min">The least.</param>
/// <param name="Max">The greatest.</param>
/// <param name="Above">All are greater than this.</param>
/// <param name="Below">All are less than this.</param>
public readonly record struct NumberRange(
    double Min = double.NegativeInfinity,
    double Max = double.PositiveInfinity,
    double Above = double.NegativeInfinity,
    double Below = double.PositiveInfinity)
{
    internal (int Min, int Max) AsInt => (
        (int)Math.Clamp(AsLong.Min, int.MinValue, int.MaxValue), (int)Math.Clamp(
            AsLong.Max, int.MinValue, int.MaxValue));

    internal (long Min, long Max) AsLong => (
        double.IsFinite(Min) ? (long)Min : long.MinValue, double.IsFinite(Max) ? (long)Max : long.MaxValue);

    /// <summary>Whether a number is one of them.</summary>
    public bool Contains(double value) => value >= Min && value <= Max
        && (value > Above || double.IsNegativeInfinity(Above)) && (value < Below || double.IsPositiveInfinity(Below));

    /// <summary>What follows "a number": <c> from 0 to 1</c>, <c> above 0</c>; empty where all are allowed.</summary>
    public override string ToString()
    {
        if (double.IsFinite(Min) && double.IsFinite(Max))
            return $" from {Shown(Min)} to {Shown(Max)}";
        var lower = double.IsFinite(Above)
            ? $"above {Shown(Above)}"
            : double.IsFinite(Min)
            ? $"of at least {Shown(Min)}"
            : "";
        var upper = double.IsFinite(Below)
            ? $"below {Shown(Below)}"
            : double.IsFinite(Max)
            ? $"of at most {Shown(Max)}"
            : "";
        return lower.Length == 0 ? upper.Length == 0 ? "" : " " + upper
            : upper.Length == 0 ? " " + lower
            : $" {lower} and {upper.Replace("of ", "", StringComparison.Ordinal)}";
    }

    private static string Shown(double value) => value.ToString(CultureInfo.InvariantCulture);
}
