using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Peft.Formats.Configuration;

/// <summary>
/// A value in a configuration file, with the place it came from. YAML and JSON both become this tree:
/// <see cref="ConfigMap"/>, <see cref="ConfigList"/> and <see cref="ConfigScalar"/>. Nodes never change.
/// </summary>
public abstract class ConfigNode
{
    private protected ConfigNode(string source, int line)
    {
        Source = source;
        Line = line;
    }

    /// <summary>The file, or <c>--set</c>, or another word for where the value was written.</summary>
    public string Source { get; }

    /// <summary>
    /// Line in <see cref="Source"/>, from 1; a value under a key has the key's line. 0 where there are no lines.
    /// </summary>
    public int Line { get; }

    /// <summary>
    /// The value in a few words, for the "found" part of a message: <c>'abc'</c>, <c>8</c>, <c>a list of 3 items</c>.
    /// </summary>
    public abstract string Describe();
}

/// <summary>Keys and their values, in the order they were written; no key appears twice.</summary>
public sealed class ConfigMap : ConfigNode
{
    private readonly List<KeyValuePair<string, ConfigNode>> _entries = [];
    private readonly Dictionary<string, int> _index = new(StringComparer.Ordinal);

    /// <summary>Makes a map; readers of files refuse duplicate keys, with both lines, before they come here.</summary>
    /// <exception cref="ArgumentException">A key appears twice.</exception>
    public ConfigMap(string source, int line, IEnumerable<KeyValuePair<string, ConfigNode>> entries)
        : base(source, line)
    {
        foreach (var entry in entries)
        {
            if (!_index.TryAdd(entry.Key, _entries.Count))
                throw new ArgumentException($"key {Quote.Of(entry.Key)} appears twice", nameof(entries));
            _entries.Add(entry);
        }
    }

    /// <summary>The entries in order.</summary>
    public IReadOnlyList<KeyValuePair<string, ConfigNode>> Entries => _entries;

    /// <summary>The keys in order.</summary>
    public IEnumerable<string> Keys => _entries.Select(entry => entry.Key);

    /// <summary>How many entries there are.</summary>
    public int Count => _entries.Count;

    /// <summary>The value under a key, or null when the key is absent.</summary>
    public ConfigNode? this[string key] => TryGet(key, out var node) ? node : null;

    /// <summary>A map without entries.</summary>
    public static ConfigMap Empty(string source) => new(source, 0, []);

    /// <summary>Looks a key up.</summary>
    public bool TryGet(string key, [NotNullWhen(true)] out ConfigNode? node)
    {
        node = _index.TryGetValue(key, out var at) ? _entries[at].Value : null;
        return node is not null;
    }

    /// <summary>
    /// A copy in which <paramref name="key"/> has the value given: in its old position, or last when it is new.
    /// </summary>
    public ConfigMap With(string key, ConfigNode value)
    {
        var entries = _entries.ToList();
        var entry = KeyValuePair.Create(key, value);
        if (_index.TryGetValue(key, out var at))
            entries[at] = entry;
        else
            entries.Add(entry);
        return new ConfigMap(Source, Line, entries);
    }

    /// <summary>A copy without <paramref name="key"/>.</summary>
    public ConfigMap Without(string key) => new(Source, Line, _entries.Where(entry => entry.Key != key));

    /// <inheritdoc/>
    public override string Describe() =>
        Count == 0 ? "an empty section" : $"a section of {Words.Count(Count, "key")}";
}

/// <summary>Values in order.</summary>
public sealed class ConfigList : ConfigNode
{
    /// <summary>Makes a list.</summary>
    public ConfigList(string source, int line, IEnumerable<ConfigNode> items)
        : base(source, line) => Items = [.. items];

    /// <summary>The values.</summary>
    public IReadOnlyList<ConfigNode> Items { get; }

    /// <inheritdoc/>
    public override string Describe() =>
        Items.Count == 0 ? "an empty list" : $"a list of {Words.Count(Items.Count, "item")}";
}

/// <summary>
/// A single value: text, number, true or false, or nothing. Kept as it was written; the reader decides the type.
/// </summary>
public sealed class ConfigScalar : ConfigNode
{
    /// <summary>Makes a scalar. Unquoted <c>null</c>, <c>~</c> and the empty text are nothing, as in YAML.</summary>
    public ConfigScalar(string source, int line, string? text, bool isQuoted = false)
        : base(source, line)
    {
        Text = !isQuoted && text is "" or "~" or "null" or "Null" or "NULL" ? null : text;
        IsQuoted = isQuoted && text is not null;
    }

    /// <summary>The text without its quotes and escapes; null for nothing.</summary>
    public string? Text { get; }

    /// <summary>True when it stood in quotes, so that it is text whatever it looks like.</summary>
    public bool IsQuoted { get; }

    /// <summary>True for null.</summary>
    public bool IsNull => Text is null;

    /// <summary>Nothing.</summary>
    public static ConfigScalar Null(string source) => new(source, 0, null);

    /// <summary>A text, whatever it looks like.</summary>
    public static ConfigScalar Of(string? text, string source = "") => new(source, 0, text, isQuoted: true);

    /// <summary>A whole number.</summary>
    public static ConfigScalar Of(long value, string source = "") =>
        new(source, 0, value.ToString(CultureInfo.InvariantCulture));

    /// <summary>A number, in the shortest form that reads back as the same double and as a float in Python.</summary>
    public static ConfigScalar Of(double value, string source = "") => new(source, 0, NumberText(value));

    /// <summary>true or false.</summary>
    public static ConfigScalar Of(bool value, string source = "") => new(source, 0, value ? "true" : "false");

    /// <summary>Reads a whole number; <c>8.0</c> and <c>1e3</c> are not written as whole numbers and fail.</summary>
    public bool TryInteger(out long value)
    {
        value = 0;
        return !IsQuoted && long.TryParse(Text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);
    }

    /// <summary>Reads a finite number.</summary>
    public bool TryNumber(out double value)
    {
        value = 0;
        return !IsQuoted
            && double.TryParse(Text, NumberStyles.Float, CultureInfo.InvariantCulture, out value)
            && double.IsFinite(value);
    }

    /// <summary>Reads true or false, in YAML's spellings (true, True, TRUE); yes and on are not among them.</summary>
    public bool TryBoolean(out bool value)
    {
        value = !IsQuoted && Text is "true" or "True" or "TRUE";
        return !IsQuoted && (value || Text is "false" or "False" or "FALSE");
    }

    /// <inheritdoc/>
    public override string Describe() => Text switch
    {
        null => "null",
        _ when !IsQuoted && (TryNumber(out _) || TryBoolean(out _)) => Text.Length > 40 ? Quote.Of(Text) : Text,
        _ => Quote.Of(Text),
    };

    // Python's YAML reader takes 1e-05 for a text; with a point before the exponent every reader sees a number.
    private static string NumberText(double value)
    {
        if (!double.IsFinite(value))
            throw new ArgumentOutOfRangeException(nameof(value), value, "configuration holds finite numbers only");
        var text = value.ToString("R", CultureInfo.InvariantCulture).ToLowerInvariant();
        if (text.Contains('.', StringComparison.Ordinal))
            return text;
        var exponent = text.IndexOf('e', StringComparison.Ordinal);
        return exponent < 0 ? text + ".0" : string.Concat(text.AsSpan(0, exponent), ".0", text.AsSpan(exponent));
    }
}
