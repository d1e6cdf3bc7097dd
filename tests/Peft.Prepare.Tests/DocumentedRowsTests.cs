using System.Text.RegularExpressions;
using Peft.Formats;
using Peft.Prepare.Cache;
using Peft.Prepare.DataSets;

namespace Peft.Prepare.Tests;

/// <summary>
/// The rows are those whose hashes stand in data/README.md: the published results were measured on them.
/// </summary>
public sealed partial class DocumentedRowsTests
{
    private static readonly string[] Readme = File.ReadAllLines(
        Path.Combine(SharedAssets.Repository, "data", "README.md"));

    private static readonly Dictionary<string, (int Rows, string Hash)> Documented = Readme
        .Select(line => HashLine().Match(line))
        .Where(match => match.Success)
        .ToDictionary(match => match.Groups[3].Value,
        match => (int.Parse(match.Groups[2].Value), match.Groups[1].Value));

    public static TheoryData<string> SetNames => [.. Catalog.All.Select(set => set.Name)];

    [Fact]
    public void The_hash_of_every_file_is_documented() =>
        Assert.Equal(
            Catalog.All.SelectMany(set => set.Split.Names.Select(split => $"{set.Name}/{split}")).Order(),
            Documented.Keys.Order());

    [Theory]
    [MemberData(nameof(SetNames))]
    public void The_table_of_the_data_sets_has_the_same_numbers_of_rows(string name)
    {
        var set = Catalog.All.Single(set => set.Name == name);
        var numbers = string.Join(" | ", set.Split.Names.Select(split => $"{Documented[$"{name}/{split}"].Rows:N0}"));
        var line = Assert.Single(Readme, line => line.StartsWith($"| `{name}` |", StringComparison.Ordinal));
        Assert.Contains($"| {numbers} |", line, StringComparison.Ordinal);
    }

    [InstalledPackagesTheory]
    [MemberData(nameof(SetNames))]
    public void The_installed_packages_give_the_documented_rows(string name)
    {
        var set = Catalog.All.Single(set => set.Name == name);
        var rows = set.Build(Installed.Packages);
        Assert.Equal(ExpectedOf(set),
            set.Split.Names.Select(split => (rows[split].Count, ParquetRows.Hash(set.Columns, rows[split]))));
    }

    [PreparedDataTheory]
    [MemberData(nameof(SetNames))]
    public async Task The_files_of_the_cache_hold_the_documented_rows(string name)
    {
        var set = Catalog.All.Single(set => set.Name == name);
        var found = new List<(int, string)>();
        foreach (var split in set.Split.Names)
        {
            var (columns, rows) = await ParquetRows.Read(Installed.Cache.PathOf(set, split));
            found.Add((rows.Count, ParquetRows.Hash(columns, rows)));
        }

        Assert.Equal(ExpectedOf(set), found);
    }

    private static IEnumerable<(int Rows, string Hash)> ExpectedOf(DataSet set) =>
        set.Split.Names.Select(split => Documented[$"{set.Name}/{split}"]);

    [GeneratedRegex(@"^([0-9a-f]{64}) +([0-9]+) (\w+/\w+)$")]
    private static partial Regex HashLine();
}
