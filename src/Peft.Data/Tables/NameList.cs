namespace Peft.Data.Tables;

/// <summary>Distinct names in the order in which they were met.</summary>
internal sealed class NameList
{
    private readonly HashSet<string> _seen = new(StringComparer.Ordinal);
    private readonly List<string> _names = [];

    public IReadOnlyList<string> Names => _names;

    public int Count => _names.Count;

    public bool Contains(string name) => _seen.Contains(name);

    public void Add(string name)
    {
        if (_seen.Add(name))
            _names.Add(name);
    }
}
