using Peft.Data.Tests.Batches;
namespace Peft.Data.Tests;

/// <summary>Managed memory is counted for the whole process, so these tests run alone.</summary>
[Collection(nameof(MemoryTests))]
[CollectionDefinition(nameof(MemoryTests), DisableParallelization = true)]
public class MemoryTests
{
    private const string Template = "\"template\": {\"prompt\": \"Q: {q}\", \"answer\": \"{a}\"}";
    private const string Text = "\"template\": {\"text\": \"{t}\"}";

    [Fact]
    public void Two_hundred_thousand_rows_are_read_in_bounded_memory()
    {
        using var folder = new TempFolder();
        folder.WriteParquet(
            "t.parquet", ("q", Words(200000)), ("a", Enumerable.Range(0, 200000).Select(row => $"a{row}").ToArray()));
        var reader = Given.Reader(folder, $$"""{"files": "t.parquet", {{Template}}}""");
        var (rows, most, before) = (0L, 0L, GC.GetTotalMemory(forceFullCollection: true));
        foreach (var example in reader.Read())
        {
            if (++rows % 20000 == 0)
                most = Math.Max(most, GC.GetTotalMemory(forceFullCollection: true) - before);
        }

        Assert.Equal(200000, rows);
        Assert.InRange(most, long.MinValue, 8 << 20); // the texts are 80 MB
    }

    [Fact]
    public void Two_hundred_thousand_rows_stay_within_the_memory_budget()
    {
        using var folder = new TempFolder();
        folder.WriteParquet("t.parquet", ("t", Words(200000)));
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var most = long.MinValue; // tests beside this one may give memory back meanwhile
        using var data = TrainingData.Open(
            Given.Train($$"""{"files": "t.parquet", {{Text}}}""", "\"memory_budget_mb\": 8"),
            Given.Characters,
            folder.Path,
            count =>
                most = count % 65536 == 0
                    ? Math.Max(most, GC.GetTotalMemory(forceFullCollection: true) - before)
                    : most);
        Assert.Equal(200000, data.Train.Count);
        // The tokens are 160 MB; what the threads hold at the moment comes on top of the budget.
        Assert.InRange(most, long.MinValue + 1, 56 << 20);
    }

    [Fact]
    public void Streaming_takes_the_memory_of_the_buffer()
    {
        using var folder = new TempFolder();
        folder.WriteParquet("t.parquet", 2000, ("t", Words(50000)));
        using var data = Given.Open(
            folder, Given.Train(Streamed.Set("t.parquet"), Streamed.Keys(2000, "\"max_length\": 512")));
        var stream = data.Batches(16, 0);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var most = long.MinValue;
        for (var batch = 0; batch < 3125; batch++)
        {
            stream.Next();
            if (batch % 625 == 0)
                most = Math.Max(most, GC.GetTotalMemory(forceFullCollection: true) - before);
        }

        Assert.Equal(1, stream.Epoch);
        Assert.InRange(most, long.MinValue + 1, 6 << 20); // 2,000 rows take 1 MB, all rows 24 MB
    }

    private static string[] Words(int rows) =>
        [.. Enumerable.Range(0, rows).Select(row => string.Concat(Enumerable.Repeat("word ", 40)) + row)];
}
