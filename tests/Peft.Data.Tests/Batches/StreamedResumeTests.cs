using Peft.Data.Batches;
using Peft.Formats;

namespace Peft.Data.Tests.Batches;

/// <summary>A place in a stream is some numbers, and going on from there is going on.</summary>
public sealed class StreamedResumeTests : IDisposable
{
    private const int Batches = 30;

    private readonly TempFolder _folder = new();

    public StreamedResumeTests()
    {
        (string, int)[] files =
            [("a.parquet", 37), ("b.parquet", 5), ("c.jsonl", 23), ("d.parquet", 29), ("e.csv", 11)];
        foreach (var (name, rows) in files)
            _folder.Rows(name, rows);
        _folder.WriteParquet(
            "bad.parquet", 7,
            ("t", Enumerable.Range(0, 30).Select(row => row % 4 > 0 ? new string('x', 1 + row) : null).ToArray()));
    }

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string, string> Cases => new()
    {
        { Streamed.Set("a.parquet"), "\"shuffle_buffer_size\": 10" },
        { Streamed.Set("a.parquet"), "\"shuffle_buffer_size\": 1000, \"bucket_window\": 3" },
        { Streamed.Set("a.parquet"), "\"shuffle_buffer_size\": 4, \"shuffle\": false" },
        { Streamed.Set("[\"d.parquet\", \"a.parquet\"]"), "\"shuffle_buffer_size\": 8, \"bucket_window\": 2" },
        {
            Streamed.Set(
                "[\"c.jsonl\", \"e.csv\", \"d.parquet\"]",
                "\"filter\": \"(n | string.to_int) % 3 < 2\", \"limit\": 50"),
            "\"shuffle_buffer_size\": 7, \"bucket_window\": 1"
        },
        { Streamed.Set("bad.parquet", "\"on_bad_row\": \"skip\""), "\"shuffle_buffer_size\": 5, \"bucket_window\": 2" },
        {
            Streamed.Set("a.parquet"),
            "\"shuffle_buffer_size\": 6, \"bucket_window\": 2, \"max_length\": 30, \"on_long_answer\": \"skip\""
        },
        {
            Streamed.Set("d.parquet") + ", " + Streamed.Set("a.parquet"),
            "\"shuffle_buffer_size\": 9, \"bucket_window\": 2"
        },
        {
            Streamed.Set("a.parquet") + ", " + Streamed.Set("b.parquet"),
            "\"shuffle_buffer_size\": 9, \"shuffle\": false"
        },
        {
            Streamed.Set("a.parquet") + ", " + Streamed.Set("b.parquet", "\"weight\": 3"),
            "\"shuffle_buffer_size\": 4, \"bucket_window\": 3"
        },
        {
            Streamed.Set("d.parquet", "\"weight\": 1") + ", " + Streamed.Set("a.parquet", "\"weight\": 3"),
            "\"shuffle_buffer_size\": 12, \"bucket_window\": 1"
        },
        {
            Streamed.Set("a.parquet"),
            "\"shuffle_buffer_size\": 8, \"bucket_window\": 2, \"packing\": true, \"max_length\": 64"
        },
        // Long texts go on in further sequences: a window may end inside a row.
        {
            Streamed.Set("a.parquet") + ", " + Streamed.Set("b.parquet", "\"weight\": 2"),
            "\"shuffle_buffer_size\": 8, \"bucket_window\": 1, \"packing\": true, \"max_length\": 17"
        },
        {
            Streamed.Set("a.parquet"),
            "\"shuffle_buffer_size\": 8, \"bucket_window\": 1, \"packing\": true, \"max_length\": 17,"
                + " \"shuffle\": false"
        },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Resuming_anywhere_equals_going_on(string sets, string keys)
    {
        using var data = Open(sets, keys);
        var whole = data.Batches(4, 11);
        var states = new List<string>();
        var batches = new List<TokenBatch>();
        var counts = new List<StreamCounts>();
        for (var at = 0; at < Batches; at++)
        {
            states.Add(whole.State.ToJson());
            batches.Add(whole.Next());
            counts.Add(whole.Counts!);
        }

        // Backwards, so that no place is where reading stands.
        var restored = data.Batches(4, 11);
        for (var at = Batches - 1; at >= 0; at -= 2)
        {
            var state = BatchStreamState.Parse(states[at]);
            Assert.Equal(states[at], state.ToJson());
            restored.Restore(state);
            Check(restored, at);
        }

        // Another process has nothing but the state.
        using var next = Open(sets, keys);
        Check(next.Batches(4, 11, BatchStreamState.Parse(states[Batches / 2])), Batches / 2);

        void Check(BatchStream stream, int from)
        {
            for (var at = from; at < Math.Min(from + 4, Batches); at++)
            {
                Assert.Equal(states[at], stream.State.ToJson());
                AssertSame(batches[at], stream.Next());
                Assert.Equal(counts[at], stream.Counts);
            }
        }
    }

    [Fact]
    public void A_state_does_not_grow_with_the_data()
    {
        _folder.Rows("large.parquet", 20000);
        using var data = Open(Streamed.Set("large.parquet"), "\"shuffle_buffer_size\": 5000");
        var stream = data.Batches(16, 0);
        Streamed.Take(stream, 900);
        Assert.InRange(stream.State.ToJson().Length, 100, 800);
    }

    [Fact]
    public void A_position_of_other_settings_is_refused()
    {
        using var data = Open(Streamed.Set("a.parquet"), "\"shuffle_buffer_size\": 10");
        using var larger = Open(Streamed.Set("a.parquet"), "\"shuffle_buffer_size\": 11");
        using var plain = Given.Open(_folder, Given.Train(Streamed.Set("a.parquet")));
        var state = data.Batches(4, 0).State;
        Assert.Equal(
            "resume: shuffle_buffer_size (0: not streaming) was 10 when the checkpoint was written and is 11 now;"
            + " expected the same data and settings. Set it back, or start anew with --overwrite.",
            Refused(larger, state));
        Assert.Contains(
            "per_device_train_batch_size was 4",
            Refused(data, state with { BatchSize = 5 }).Replace("was 5", "was 4", StringComparison.Ordinal));
        Assert.StartsWith("resume: ", Refused(plain, state));
        Assert.StartsWith("resume: ", Refused(data, plain.Batches(4, 0).State));
        using var other = Open(Streamed.Set("b.parquet"), "\"shuffle_buffer_size\": 10");
        Assert.Contains("number of sequences was 37", Refused(other, state));
        _folder.WriteParquet("a.parquet", ("t", Enumerable.Range(0, 37).Select(row => $"x{row}").ToArray()));
        using var changed = Open(Streamed.Set("a.parquet"), "\"shuffle_buffer_size\": 10");
        Assert.Contains("data hash was", Refused(changed, state));

        static string Refused(TrainingData data, BatchStreamState state) =>
            Assert.Throws<UserException>(() => data.Batches(4, 0, state)).Message;
    }

    [Theory]
    [InlineData(-1, 0, 0, 0, 0, 0)]
    [InlineData(0, -1, 0, 0, 0, 0)]
    [InlineData(0, 0, 1, 0, 0, 0)]
    [InlineData(0, 0, 0, -1, 0, 0)]
    [InlineData(0, 0, 0, 0, 11, 0)]
    [InlineData(0, 0, 0, 0, 0, -1)]
    [InlineData(1, 0, 0, 0, 0, 0)]
    [InlineData(0, 0, 0, long.MaxValue, 0, 0)]
    public void A_position_that_is_no_place_in_the_data_is_refused(
        long pass, long block, int file, long row, int index, int piece)
    {
        using var data = Open(Streamed.Set("a.parquet"), "\"shuffle_buffer_size\": 10");
        var state = data.Batches(4, 0).State;
        var place = new RowPosition(pass, block, file, row, index, piece);
        var hostile = state with { Stream = state.Stream! with { Sets = [place] } };
        Assert.Equal(
            "resume: epoch 0, window 0, batch 0; expected a place in these streamed rows. The checkpoint is"
                + " damaged: resume from another one.",
            Assert.Throws<UserException>(() => data.Batches(4, 0, hostile)).Message);
    }

    private TrainingData Open(string sets, string keys) =>
        Given.Open(_folder, Given.Train(sets, "\"streaming\": true, " + keys));

    private static void AssertSame(TokenBatch expected, TokenBatch actual)
    {
        Assert.Equal(expected.Rows, actual.Rows);
        Assert.Equal(expected.Ids, actual.Ids);
        Assert.Equal(expected.Targets, actual.Targets);
    }
}
