using Peft.Data.Tests.Batches;
namespace Peft.Data.Tests.Examples;

public sealed class DataSetReaderSkipTests
{
    [Theory]
    [InlineData("t.csv")]
    [InlineData("t.jsonl")]
    [InlineData("t.parquet")]
    public void Reading_can_begin_after_any_row(string file)
    {
        using var folder = new TempFolder();
        Streamed.Rows(folder, "t.csv", 9);
        Streamed.Rows(folder, "t.jsonl", 9);
        Streamed.Rows(folder, "t.parquet", 9);
        folder.Write("last.csv", "t,n\nz,9\n");
        var reader = Given.Reader(
            folder, Streamed.Set($"[\"{file}\", \"last.csv\"]", "\"filter\": \"(n | string.to_int) % 2 == 1\""));
        var all = reader.Read().ToList();
        Assert.Equal([2, 4, 6, 8, 1], all.Select(example => example.Row.Row));
        for (var skip = 0; skip <= 9; skip++)
            Assert.Equal(
                all.Where(example => example.Row.Row > skip || example.Row.File == "last.csv"),
                reader.Read(0, skip, long.MaxValue));
        Assert.Equal(all.TakeLast(1), reader.Read(1, 0, 5));
        Assert.Equal(all.Skip(1).Take(2), reader.Read(0, 2, 2));
        Assert.Empty(reader.Read(0, 0, 0));
    }
}
