using Peft.Formats;

namespace Peft.Prepare.DataSets;

/// <summary>A row on its way to a file.</summary>
/// <param name="Key">Decides the split.</param>
/// <param name="Values">One text for each column.</param>
/// <param name="Place">Decides the place in the file; null: the key and the values do.</param>
internal sealed record KeyedRow(string Key, string[] Values, string? Place = null)
{
    /// <summary>What decides the place in the file.</summary>
    public string Place { get; } = Place ?? $"{Key}\n{string.Join('\n', Values)}";

    /// <summary>Where the row stands in its file.</summary>
    public string Order => Split.OrderOf(Place);
}

/// <summary>A data set that recipes train on, and how it is made.</summary>
/// <param name="Name">Its folder in the cache.</param>
/// <param name="Columns">The columns, all of them text.</param>
/// <param name="Split">Which rows are held out.</param>
/// <param name="Packages">What it is made of.</param>
/// <param name="Read">Its rows, in any order.</param>
internal sealed record DataSet(
    string Name,
    string[] Columns,
    Split Split,
    string[] Packages,
    Func<InstalledPackages, IEnumerable<KeyedRow>> Read)
{
    /// <summary>
    /// The rows of each split in the order of the file; the same packages give the same rows on every machine.
    /// </summary>
    /// <exception cref="UserException">The packages hold no row of it.</exception>
    public IReadOnlyDictionary<string, IReadOnlyList<string[]>> Build(InstalledPackages packages)
    {
        var rows = Read(packages).Select(row => (row.Order, Split: Split.Of(row.Key), row.Values)).ToList();
        if (rows.Count == 0)
            throw UserException.At(
                Name, $"no row of it in the installed {Words.AllOf([.. Packages])}",
                "the versions in data/package.json", "run make setup");
        rows.Sort((x, y) => string.CompareOrdinal(x.Order, y.Order));
        var bySplit = rows.ToLookup(row => row.Split, row => row.Values);
        return Split.Names.ToDictionary(name => name, IReadOnlyList<string[]> (name) => [.. bySplit[name]]);
    }
}
