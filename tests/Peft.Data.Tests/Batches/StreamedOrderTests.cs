using Peft.Data.Batches;

namespace Peft.Data.Tests.Batches;

public sealed class StreamedOrderTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("t.csv", 1, 1, 1, 5)]
    [InlineData("t.csv", 100, 7, 4, 9)]
    [InlineData("t.jsonl", 100, 7, 4, 100)]
    [InlineData("t.parquet", 100, 7, 4, 33)]
    [InlineData("t.parquet", 64, 8, 8, 64)]
    [InlineData("t.parquet", 100, 200, 4, 1)]
    public void Every_row_comes_once_an_epoch(string file, int rows, int batchSize, int window, int buffer)
    {
        _folder.Rows(file, rows);
        using var data = Open(Streamed.Set(file), Streamed.Keys(buffer, $"\"bucket_window\": {window}"));
        var stream = data.Batches(batchSize, seed: 3);
        Assert.Equal(file == "t.parquet" ? (rows + batchSize - 1) / batchSize : null, stream.BatchesPerEpoch);
        for (var epoch = 0; epoch < 3; epoch++)
        {
            Assert.Equal(epoch, stream.Epoch);
            var seen = Streamed.Order(stream, (rows + batchSize - 1) / batchSize);
            Assert.Equal(Enumerable.Range(1, rows).Select(row => (long)row), seen.Select(row => row.Row).Order());
        }
    }

    [Fact]
    public void With_a_buffer_for_all_an_epoch_has_the_sequences_of_plain_reading()
    {
        _folder.Rows("a.csv", 40);
        _folder.Rows("b.jsonl", 30);
        const string Cut = "\"max_length\": 40, \"on_long_answer\": \"cut\"";
        foreach (var set in new[] { Streamed.Set("a.csv"), Streamed.Set("b.jsonl", "\"filter\": \"n % 3 > 0\"") })
        {
            using var plain = Open(set, Cut);
            using var streamed = Open(set, Streamed.Keys(1000, Cut));
            var count = (int)plain.Batches(4, 0).BatchesPerEpoch!.Value;
            Assert.Equal(Contents(plain.Batches(4, 0), count), Contents(streamed.Batches(4, 0), count));
        }

        static IEnumerable<string> Contents(BatchStream stream, int count) => Streamed.Take(stream, count)
            .SelectMany(batch => Enumerable.Range(0, batch.BatchSize).Select(row =>
                $"{batch.Rows[row]} {Given.Text(batch.Ids.Skip(row * batch.Length).Take(batch.Lengths[row]))} "
                + $"{Given.Text(batch.Targets.Skip(row * batch.Length).Take(batch.Lengths[row]))} "
                + $"{batch.TaskIds[row]}"))
            .Order(StringComparer.Ordinal);
    }

    [Fact]
    public void Blocks_come_in_file_order_and_each_is_shuffled()
    {
        _folder.Rows("t.csv", 95);
        using var data = Open(Streamed.Set("t.csv"), Streamed.Keys(10));
        var stream = data.Batches(5, seed: 1);
        var epochs = new[] { Streamed.Order(stream, 19), Streamed.Order(stream, 19) };
        foreach (var blocks in epochs.Select(epoch => epoch.Select(row => row.Row).Chunk(10).ToList()))
        {
            for (var block = 0; block < blocks.Count; block++)
            {
                Assert.Equal(
                    Enumerable.Range(1 + 10 * block, block < 9 ? 10 : 5).Select(row => (long)row),
                    blocks[block].Order());
                Assert.NotEqual(blocks[block].Order(), blocks[block]);
            }

            // No two blocks are shuffled alike.
            Assert.Equal(
                9,
                blocks.Take(9).Select(
                    (block, at) => string.Join(' ', block.Select(row => row - 10 * at))).Distinct().Count());
        }

        Assert.NotEqual(epochs[0], epochs[1]);
    }

    [Fact]
    public void A_seed_repeats_and_another_differs()
    {
        _folder.Rows("t.csv", 50);
        using var data = Open(Streamed.Set("t.csv"), Streamed.Keys(20));
        using var again = Open(Streamed.Set("t.csv"), Streamed.Keys(20));
        using var fixedSeed = Open(Streamed.Set("t.csv"), Streamed.Keys(20, "\"seed\": 0, \"bucket_window\": 1"));
        var first = Streamed.Order(data.Batches(4, 0), 26);
        Assert.Equal(first, Streamed.Order(data.Batches(4, 0), 26));
        Assert.Equal(first, Streamed.Order(again.Batches(4, 0), 26));
        Assert.Equal(first, Streamed.Order(fixedSeed.Batches(4, 9), 26));
        Assert.NotEqual(first, Streamed.Order(data.Batches(4, 1), 26));
    }

    [Fact]
    public void Without_shuffle_rows_come_in_file_order_one_data_set_after_the_other()
    {
        _folder.Rows("a.csv", 5);
        _folder.Rows("b.csv", 3);
        _folder.Rows("c.csv", 2);
        using var data = Open(
            Streamed.Set("[\"a.csv\", \"b.csv\"]") + ", " + Streamed.Set("c.csv"),
            Streamed.Keys(4, "\"shuffle\": false"));
        var stream = data.Batches(4, 0);
        string[] epoch =
        [
            "a.csv, row 1", "a.csv, row 2", "a.csv, row 3", "a.csv, row 4", "a.csv, row 5",
            "b.csv, row 1", "b.csv, row 2", "b.csv, row 3", "c.csv, row 1", "c.csv, row 2",
        ];
        Assert.Equal([.. epoch, .. epoch], Streamed.Order(stream, 6).Select(row => row.ToString()));
    }

    [Fact]
    public void Weighted_data_sets_are_drawn_at_the_places_of_the_plain_order()
    {
        _folder.Rows("a.parquet", 60);
        _folder.Rows("b.parquet", 11);
        var sets = Streamed.Set("a.parquet") + ", " + Streamed.Set("b.parquet", "\"weight\": 2.5");
        using var plain = Open(sets, "\"bucket_window\": 1");
        using var streamed = Open(sets, Streamed.Keys(8));
        Assert.Equal(71, streamed.TrainCount);
        var (expected, actual) = (Streamed.Order(plain.Batches(4, 5), 90), Streamed.Order(streamed.Batches(4, 5), 90));
        Assert.Equal(expected.Select(row => row.File), actual.Select(row => row.File));

        // Each data set goes through all its rows before it begins again.
        foreach (var file in actual.GroupBy(row => row.File))
        {
            foreach (var pass in file.Chunk(file.Key == "a.parquet" ? 60 : 11))
                Assert.Distinct(pass);
        }
    }

    [Fact]
    public void Data_sets_of_unknown_size_are_mixed_by_weight_without_end()
    {
        _folder.Rows("large.csv", 100);
        _folder.Rows("small.csv", 5);
        using var data = Open(
            Streamed.Set("large.csv") + ", " + Streamed.Set("small.csv", "\"weight\": 3"), Streamed.Keys(16));
        var stream = data.Batches(10, seed: 5);
        Assert.Null(stream.BatchesPerEpoch);
        var rows = Streamed.Order(stream, 990);
        Assert.Equal(0, stream.Epoch);
        Assert.InRange(rows.Count(row => row.File == "small.csv") / (double)rows.Count, 0.73, 0.77);
        var small = rows.Where(
            row => row.File == "small.csv").GroupBy(row => row.Row).Select(group => group.Count()).ToList();
        Assert.InRange(small.Max() - small.Min(), 0, 1);
    }

    [Fact]
    public void Without_weights_rows_of_all_data_sets_are_spread_over_the_epoch()
    {
        _folder.Rows("a.parquet", 900);
        _folder.Rows("b.parquet", 100);
        using var data = Open(Streamed.Set("a.parquet") + ", " + Streamed.Set("b.parquet"), Streamed.Keys(50));
        Assert.Equal(1000, data.TrainCount);
        var stream = data.Batches(10, 0);
        for (var epoch = 0; epoch < 2; epoch++)
        {
            var rows = Streamed.Order(stream, 100);
            Assert.Equal(1000, rows.Distinct().Count());
            foreach (var quarter in rows.Chunk(250))
                Assert.InRange(quarter.Count(row => row.File == "b.parquet"), 10, 42);
        }
    }

    [Fact]
    public void Limit_and_filter_hold()
    {
        _folder.Rows("a.csv", 30);
        _folder.Rows("b.csv", 30);
        using var data = Open(
            Streamed.Set("[\"a.csv\", \"b.csv\"]", "\"filter\": \"(n | string.to_int) % 2 == 1\", \"limit\": 20"),
            Streamed.Keys(7));
        var rows = Streamed.Order(data.Batches(4, 0), 10);
        string[] expected =
        [
            .. Enumerable.Range(1, 15).Select(at => $"a.csv, row {2 * at}"),
            .. Enumerable.Range(1, 5).Select(at => $"b.csv, row {2 * at}"),
        ];
        Assert.Equal(
            expected.Concat(expected).Order(StringComparer.Ordinal),
            rows.Select(row => row.ToString()).Order(StringComparer.Ordinal));
        using var exact = Open(Streamed.Set("a.csv", "\"limit\": 14"), Streamed.Keys(7));
        Assert.Equal(14, Streamed.Order(exact.Batches(14, 0), 1).Distinct().Count());
        Assert.Equal(14, Streamed.Order(exact.Batches(7, 0), 2).Distinct().Count());
    }

    [Fact]
    public void Sequences_of_like_length_share_a_batch()
    {
        _folder.Rows("t.csv", 400);
        using var data = Open(Streamed.Set("t.csv"), Streamed.Keys(400, "\"bucket_window\": 32"));
        using var plain = Open(Streamed.Set("t.csv"), Streamed.Keys(400));
        Assert.True(Padding(data) * 4 < Padding(plain), $"{Padding(data)} against {Padding(plain)}");

        static long Padding(TrainingData data) =>
            Streamed.Take(data.Batches(8, 0), 50).Sum(batch => (long)batch.Ids.Length - batch.Lengths.Sum());
    }

    private TrainingData Open(string sets, string keys) => Given.Open(_folder, Given.Train(sets, keys));
}
