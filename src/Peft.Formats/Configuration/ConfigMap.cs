using System.Diagnostics.CodeAnalysis;

namespace Peft.Formats.Configuration;

/// <summary>Keys and their values, in the order they were written; no key stands twice.</summary>
public sealed class ConfigMap : ConfigNode
{
    private readonly List<KeyValuePair<string, ConfigNode>> _entries = [];
    private readonly Dictionary<string, int> _index = new(StringComparer.Ordinal);

    /// <summary>Makes a map; readers of files refuse duplicate keys, with both lines, before they come here.</summary>
    /// <exception cref="ArgumentException">A key stands twice.</exception>
    public ConfigMap(string source, int line, IEnumerable<KeyValuePair<string, ConfigNode>> entries)
        : base(source, line)
    {
        foreach (var entry in entries)
        {
            if (!_index.TryAdd(entry.Key, _entries.Count))
                throw new ArgumentException($"key {Quote.Of(entry.Key)} stands twice", nameof(entries));
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
        Count == 0 ? "an empty section" : $"a section of {Count} key{(Count == 1 ? "" : "s")}";
}
