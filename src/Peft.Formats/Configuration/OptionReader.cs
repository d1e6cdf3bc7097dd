namespace Peft.Formats.Configuration;

/// <summary>
/// Typed reading of one section. Remembers which keys were asked for, so that unknown keys are found without
/// reflection, and every value read or defaulted, so that the resolved configuration can be saved. A wrong value is
/// noted
/// in <see cref="Faults"/> and the default is returned, so that all faults are found in one pass. A key whose value is
/// null counts as absent.
/// </summary>
public sealed partial class OptionReader
{
    // Of unknown keys in one section so many are named; the rest is counted.
    private const int MostUnknown = 50;
    // A longer list is not read.
    private const int MostListed = 8;
    private readonly ConfigMap _map;
    private readonly OptionReader? _parent;
    private readonly List<string> _known = []; // every key asked for, in order
    private readonly HashSet<string> _isKnown = new(StringComparer.Ordinal); // the same: a map may have very many keys
    private readonly Dictionary<string, Func<ConfigNode>> _resolved = new(StringComparer.Ordinal);
    private readonly Dictionary<string, OptionReader> _sections = new(StringComparer.Ordinal);
    private readonly Dictionary<string, IReadOnlyList<OptionReader>> _sectionLists = new(StringComparer.Ordinal);

    /// <summary>Starts reading a map.</summary>
    /// <param name="map">The section; null reads as an empty one.</param>
    /// <param name="path">Dotted path of the section for messages; empty for the whole file.</param>
    /// <param name="faults">Where wrong values are noted.</param>
    public OptionReader(ConfigMap? map, string path, Faults faults)
        : this(map, path, faults, null)
    {
    }

    private OptionReader(ConfigMap? map, string path, Faults faults, OptionReader? parent)
    {
        _map = map ?? ConfigMap.Empty(parent?._map.Source ?? "");
        _parent = parent;
        Path = path;
        Faults = faults;
    }

    /// <summary>Dotted path of this section; empty for the whole file.</summary>
    public string Path { get; }

    /// <summary>Where wrong values are noted.</summary>
    public Faults Faults { get; }

    /// <summary>True when the key is here and not null. The key counts as known.</summary>
    public bool Has(string key) => Find(key) is not null;

    /// <summary>
    /// The raw value, or null; the key counts as known and is in <see cref="Resolved"/> when present.
    /// </summary>
    public ConfigNode? Node(string key)
    {
        var node = Find(key);
        if (node is not null)
            Record(key, node);
        return node;
    }

    /// <summary>The section under a key; an empty one when absent. Asked twice, the same reader is returned.</summary>
    public OptionReader Section(string key)
    {
        if (_sections.TryGetValue(key, out var section))
            return section;
        var node = Find(key);
        if (node is not null and not ConfigMap)
            Fault(key, node.Describe(), "a section of keys");
        section = new OptionReader(node as ConfigMap, Join(key), Faults, this);
        _sections.Add(key, section);
        Record(key, section.Resolved);
        return section;
    }

    /// <summary>The sections of a list of maps; none when absent. Asked twice, the same readers are returned.</summary>
    public IReadOnlyList<OptionReader> Sections(string key)
    {
        if (_sectionLists.TryGetValue(key, out var sections))
            return sections;
        var node = Find(key);
        var readers = new List<OptionReader>();
        if (node is not null and not ConfigList)
            Fault(key, node.Describe(), "a list of sections");
        foreach (var (i, item) in ((node as ConfigList)?.Items ?? []).Index())
        {
            if (item is ConfigMap map)
                readers.Add(new OptionReader(map, $"{Join(key)}[{i}]", Faults, this));
            else
                AddFault(item, $"{Join(key)}[{i}]", item.Describe(), "a section of keys");
        }

        _sectionLists.Add(key, readers);
        Record(key, () => new ConfigList(_map.Source, 0, readers.Select(reader => reader.Resolved())));
        return readers;
    }

    /// <summary>Notes that a value is wrong; the place is the line and dotted path of the key.</summary>
    public void Fault(string key, string found, string? expected = null, string? advice = null) =>
        AddFault(_map[key], Join(key), found, expected, advice);

    /// <summary>
    /// The place of a key for messages that come when reading is over: <c>recipe.yaml:9: data.train[0].filter</c>.
    /// </summary>
    /// <param name="key">The key; of a section below, with dots.</param>
    /// <param name="node">Its value where it is not this section's.</param>
    public string PlaceOf(string key, ConfigNode? node = null) => (node ?? _map[key]) is { Line: > 0 } found
        ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{found.Source}:{found.Line}: {Join(key)}")
        : Join(key);

    /// <summary>All keys of a section whose keys are free.</summary>
    public IReadOnlyList<string> AllKeys() => [.. _map.Keys];

    /// <summary>Keys that are here and were never asked for.</summary>
    public IReadOnlyList<string> UnknownKeys() => [.. _map.Keys.Where(key => !_isKnown.Contains(key))];

    /// <summary>
    /// Notes a fault for each unknown key here and in every section handed out, with the name probably meant, or what a
    /// key of another tool is called here.
    /// </summary>
    /// <param name="documentation">Where all keys are documented, as advice; told where a section has many.</param>
    public void Finish(string? documentation = null)
    {
        var elsewhere = new Dictionary<string, string>(StringComparer.Ordinal);
        Root().CollectKnown(elsewhere);
        Finish(elsewhere, documentation);
    }

    /// <summary>Every key that was read, in reading order, with its value or default; sections nested.</summary>
    public ConfigMap Resolved() => new(
        _map.Source,
        _map.Line,
        _known.Where(_resolved.ContainsKey).Select(key => KeyValuePair.Create(key, _resolved[key]())));

    private OptionReader Root() => _parent?.Root() ?? this;

    private IEnumerable<OptionReader> Children() =>
        _sections.Values.Concat(_sectionLists.Values.SelectMany(list => list));

    private void CollectKnown(Dictionary<string, string> paths)
    {
        foreach (var key in _known)
        {
            paths.TryAdd(key, Join(key));
            paths.TryAdd(Join(key), Join(key));
        }

        // The sections of a list have the same keys: one speaks for all, however long the list.
        foreach (var child in _sections.Values.Concat(_sectionLists.Values.SelectMany(list => list.Take(1))))
            child.CollectKnown(paths);
    }

    private void Finish(Dictionary<string, string> elsewhere, string? documentation)
    {
        var unknown = UnknownKeys();
        foreach (var key in unknown.Take(MostUnknown))
        {
            var advice = AdviceOn(key, elsewhere);
            if (advice is not null)
                Fault(key, "unknown key", null, advice);
            else if (_known.Count == 0)
                Fault(key, "unknown key", "no keys here");
            else if (_known.Count <= MostListed)
                Fault(key, "unknown key", Words.OneOf(_known));
            else
                Fault(key, "unknown key", Some(_known), documentation);
        }

        if (unknown.Count > MostUnknown)
            Fault(unknown[MostUnknown], $"unknown key, and {unknown.Count - MostUnknown - 1} more");
        foreach (var child in Children())
            child.Finish(elsewhere, documentation);
    }

    private static string Some(List<string> keys) =>
        $"{string.Join(", ", keys.Take(MostListed / 2))} or one of {keys.Count - MostListed / 2} others";

    private string? AdviceOn(string key, Dictionary<string, string> elsewhere) =>
        elsewhere.TryGetValue(key, out var home) ? $"it belongs at {home}: move it there"
        : ForeignKeys.AdviceOn(key, elsewhere) is { } translated ? translated
        : NearestName.Of(key, _known) is { } near ? $"did you mean {near}?"
        : NearestName.Of(key, elsewhere.Keys) is { } far ? $"did you mean {elsewhere[far]}?"
        : null;

    // The value unless it is absent or null; asking makes the key known.
    private ConfigNode? Find(string key)
    {
        if (_isKnown.Add(key))
            _known.Add(key);
        return _map[key] is { } node and not ConfigScalar { IsNull: true } ? node : null;
    }

    internal void RecordDefault(string key, ConfigNode node) => Record(key, node);

    private void Record(string key, ConfigNode node) => _resolved[key] = () => node;

    private void Record(string key, Func<ConfigNode> resolve) => _resolved[key] = resolve;

    private string Join(string key) => Path.Length == 0 ? key : $"{Path}.{key}";

    private void AddFault(
        ConfigNode? node, string path, string found, string? expected = null, string? advice = null) =>
        Faults.Add(Place(node, path), found, expected, advice);

    // The file is named only where it is not the one the title of the message names (fragments, --set); what --set says
    // names its key itself.
    private string Place(ConfigNode? node, string path)
    {
        if (node is null)
            return path;
        var isTitles = node.Source == Root()._map.Source;
        return (isTitles, node.Line) switch
        {
            (true, 0) => path,
            (true, _) => $"line {node.Line}  {path}",
            (false, 0) => node.Source.Contains($" {path}=", StringComparison.Ordinal) ? node.Source
                : $"{node.Source}  {path}",
            _ => $"{node.Source}:{node.Line}: {path}",
        };
    }
}
