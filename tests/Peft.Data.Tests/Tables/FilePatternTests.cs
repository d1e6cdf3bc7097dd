using Peft.Data.Tables;
using Peft.Formats;

namespace Peft.Data.Tests.Tables;

public class FilePatternTests
{
    [Fact]
    public void Patterns_match_sorted_by_name()
    {
        using var folder = Folder();
        Assert.Equal(["d/a.csv", "d/b.csv"], Expand(folder, "d/*.csv"));
        Assert.Equal(["d/a.csv", "d/b.csv", "d/e/c.csv"], Expand(folder, "**/*.csv"));
        Assert.Equal(["d/e/c.csv"], Expand(folder, "d/?/c.csv"));
        Assert.Equal([folder["d/a.csv"]], Expand(folder, folder["d/a.*"]));
    }

    [Theory]
    [InlineData("a.parquet", DataFormat.Parquet)]
    [InlineData("a.jsonl", DataFormat.JsonLines)]
    [InlineData("a.JSON", DataFormat.Json)]
    [InlineData("a.csv.gz", DataFormat.Csv)]
    [InlineData("a.b.tsv", DataFormat.Tsv)]
    [InlineData("a.dat", null)]
    public void The_format_goes_by_the_ending(string name, DataFormat? format) =>
        Assert.Equal(format, DataFormats.OfPath(name));

    [Theory]
    [InlineData("d/aa.csv", "d/aa.csv does not exist", "did you mean DIR/d/a.csv? Looked in DIR")]
    [InlineData("d/*.parquet", "d/*.parquet matches no file", "looked in DIR")]
    [InlineData("d", "d is a folder", "write for example d/*.parquet")]
    [InlineData("hf://datasets/a/b.parquet", "'hf://datasets/a/b.parquet'", "download it first and give its path")]
    [InlineData("d/x.dat", "d/x.dat", "set `format:` for other names")]
    [InlineData("d/empty.csv", "d/empty.csv is empty", null)]
    public void What_cannot_be_read_is_told_with_advice(string pattern, string found, string? advice)
    {
        using var folder = Folder();
        folder.Write("d/x.dat", "x");
        folder.Write("d/empty.csv", "");
        var faults = new Faults();
        Assert.Empty(FilePattern.Expand([pattern], null, folder.Path, "data.train[0].files", faults));
        var fault = Assert.Single(faults.Items);
        Assert.Equal("data.train[0].files", fault.Place);
        Assert.Equal(found, fault.Found);
        Assert.Equal(advice, fault.Advice?.Replace(folder.Path, "DIR", StringComparison.Ordinal));
    }

    [Fact]
    public void A_file_twice_is_a_fault()
    {
        using var folder = Folder();
        var faults = new Faults();
        FilePattern.Expand(["d/a.csv", "d/*.csv"], null, folder.Path, "files", faults);
        Assert.Equal("d/a.csv twice", Assert.Single(faults.Items).Found);
    }

    private static string[] Expand(TempFolder folder, string pattern)
    {
        var faults = new Faults();
        var files = FilePattern.Expand([pattern], null, folder.Path, "files", faults);
        Assert.False(faults.Any);
        return [.. files.Select(file => file.Name)];
    }

    private static TempFolder Folder()
    {
        var folder = new TempFolder();
        foreach (var name in new[] { "d/b.csv", "d/a.csv", "d/e/c.csv", ".hidden/h.txt" })
            folder.Write(name, "a\n1\n");
        return folder;
    }
}
