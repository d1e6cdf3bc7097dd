using Peft.Data.Batches;
using Peft.Data.Tables;
using Peft.Formats;

namespace Peft.Data.Tests.Batches;

public class BatchStreamTests
{
    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(10, 3, 1)]
    [InlineData(10, 3, 2)]
    [InlineData(100, 7, 4)]
    [InlineData(100, 200, 4)]
    [InlineData(64, 8, 8)]
    public void Every_sequence_comes_once_an_epoch(int rows, int batchSize, int window)
    {
        using var data = Rows(rows, $"\"bucket_window\": {window}");
        var stream = data.Batches(batchSize, seed: 3);
        Assert.Equal((rows + batchSize - 1) / batchSize, stream.BatchesPerEpoch);
        for (var epoch = 0; epoch < 3; epoch++)
        {
            Assert.Equal(epoch, stream.Epoch);
            var batches = Take(stream, (int)stream.BatchesPerEpoch!);
            Assert.Equal(
                Enumerable.Range(1, rows).Select(row => (long)row),
                batches.SelectMany(b => b.Rows).Select(r => r.Row).Order());
        }
    }

    [Fact]
    public void Epochs_and_seeds_differ_and_a_seed_repeats()
    {
        using var data = Rows(50);
        var first = Order(data.Batches(4, 0), 26);
        Assert.Equal(first, Order(data.Batches(4, 0), 26));
        Assert.NotEqual(first, Order(data.Batches(4, 1), 26));
        Assert.NotEqual(first.Take(50), first.Skip(50).Take(50));
    }

    [Fact]
    public void The_seed_of_the_data_section_comes_first()
    {
        using var data = Rows(50, "\"seed\": 0");
        using var other = Rows(50);
        Assert.Equal(Order(other.Batches(4, 0), 5), Order(data.Batches(4, 9), 5));
    }

    [Fact]
    public void Without_shuffle_rows_come_in_file_order()
    {
        using var data = Rows(10, "\"shuffle\": false");
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4], Order(data.Batches(4, 0), 4));
    }

    [Fact]
    public void Sequences_of_like_length_share_a_batch()
    {
        using var data = Rows(400);
        using var plain = Rows(400, "\"bucket_window\": 1");
        Assert.True(Padding(data) * 4 < Padding(plain), $"{Padding(data)} against {Padding(plain)}");

        static long Padding(TrainingData data) =>
            Take(data.Batches(8, 0), 50).Sum(batch => (long)batch.Ids.Length - batch.Lengths.Sum());
    }

    [Theory]
    [InlineData("")]
    [InlineData("\"bucket_window\": 3")]
    [InlineData("\"shuffle\": false")]
    public void Resuming_anywhere_equals_going_on(string keys)
    {
        using var data = Rows(37, keys);
        CheckResume(data);
    }

    [Fact]
    public void Resuming_a_weighted_mixture_equals_going_on()
    {
        using var data = Mixture("\"bucket_window\": 3");
        CheckResume(data);
    }

    [Fact]
    public void Data_sets_are_mixed_by_weight_and_begin_again_by_themselves()
    {
        using var data = Mixture();
        var stream = data.Batches(10, seed: 5);
        Assert.Equal(11, stream.BatchesPerEpoch);
        var rows = Take(stream, 990).SelectMany(batch => batch.Rows).ToList();
        var fromSmall = rows.Where(row => row.File == "small.csv").ToList();
        Assert.InRange(fromSmall.Count / (double)rows.Count, 0.73, 0.77);

        // Within a data set no row comes twice before all have come.
        Assert.InRange(
            fromSmall.GroupBy(row => row.Row).Max(g => g.Count()) - fromSmall.GroupBy(row => row.Row)
                .Min(g => g.Count()),
            0, 1);
        var fromLarge = rows.Where(
            row => row.File == "large.csv").GroupBy(row => row.Row).Select(g => g.Count()).ToList();
        Assert.Equal(100, fromLarge.Count);
    }

    [Fact]
    public void Targets_are_the_next_learned_tokens_and_padding_is_ignored()
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "q,a\nab,cd\na,b\n");
        using var data = Given.Open(
            folder, Given.Train("""{"files": "t.csv", "template": {"prompt": "{q}", "answer": "{a}"}}"""));
        var batch = Assert.Single(data.Train.Sequential(2));
        Assert.Equal((2, 6, 5L), (batch.BatchSize, batch.Length, batch.LearnedTokens));
        Assert.Equal("<abcd><ab>__", Given.Text(batch.Ids));
        Assert.Equal("..cd>..b>...", Given.Text(batch.Targets));
        Assert.Equal([6, 4], batch.Lengths);
        Assert.Equal([new RowId("t.csv", 1), new RowId("t.csv", 2)], batch.Rows);
    }

    [Fact]
    public void A_position_of_other_data_or_settings_is_refused()
    {
        using var data = Rows(20);
        var state = data.Batches(4, 0).State;
        var error = Assert.Throws<UserException>(() => data.Batches(5, 0, state));
        Assert.Equal(
            "resume: per_device_train_batch_size was 4 when the checkpoint was written and is 5 now;"
            + " expected the same data and settings. Set it back, or start anew with --overwrite.",
            error.Message);
        Assert.Contains("seed was 0", Assert.Throws<UserException>(() => data.Batches(4, 1, state)).Message);
        using var more = Rows(21);
        Assert.Contains(
            "number of sequences was 20", Assert.Throws<UserException>(() => more.Batches(4, 0, state)).Message);
        Assert.StartsWith("data position: ", Assert.Throws<UserException>(() => BatchStreamState.Parse("{}")).Message);
        Assert.IsAssignableFrom<UserException>(Assert.Throws<UserException>(() => BatchStreamState.Parse("nonsense")));
    }

    [Theory]
    [InlineData(-1, 0, 0)]
    [InlineData(0, -1, 0)]
    [InlineData(0, long.MaxValue, 0)]
    [InlineData(0, 5, 0)]
    [InlineData(0, 0, -1)]
    [InlineData(0, 0, 1_000_000)]
    public void A_position_that_is_no_place_in_the_data_is_refused(long epoch, long window, int batch)
    {
        using var data = Rows(20);
        var state = data.Batches(4, 0).State;
        var hostile = state with { Epoch = epoch, Window = window, Batch = batch };
        var error = Assert.Throws<UserException>(() => data.Batches(4, 0, hostile));
        Assert.Contains(
            "a place in these 20 sequences. The checkpoint is damaged: resume from another one.", error.Message);
    }

    private static void CheckResume(TrainingData data)
    {
        var whole = data.Batches(4, 11);
        var states = new List<string>();
        var batches = new List<TokenBatch>();
        for (var at = 0; at < 30; at++)
        {
            states.Add(whole.State.ToJson());
            batches.Add(whole.Next());
        }

        var restored = data.Batches(4, 11);
        for (var at = 0; at < states.Count; at++)
        {
            var state = BatchStreamState.Parse(states[at]);
            Assert.Equal(states[at], state.ToJson());
            var resumed = data.Batches(4, 11, state);
            restored.Restore(state);
            for (var next = at; next < Math.Min(at + 12, batches.Count); next++)
            {
                AssertSame(batches[next], resumed.Next());
                AssertSame(batches[next], restored.Next());
            }
        }
    }

    private static void AssertSame(TokenBatch expected, TokenBatch actual)
    {
        Assert.Equal(expected.Rows, actual.Rows);
        Assert.Equal(expected.Ids, actual.Ids);
        Assert.Equal(expected.Targets, actual.Targets);
    }

    private static List<TokenBatch> Take(BatchStream stream, int count)
    {
        var batches = new List<TokenBatch>();
        for (var at = 0; at < count; at++)
            batches.Add(stream.Next());
        return batches;
    }

    private static List<long> Order(BatchStream stream, int count) =>
        [.. Take(stream, count).SelectMany(batch => batch.Rows).Select(row => row.Row)];

    // Row n has a text of between 1 and 60 characters.
    private static string Csv(int rows) =>
        "t\n" + string.Join(
            '\n',
            Enumerable.Range(0, rows).Select(row => new string((char)('a' + row % 26), 1 + row * 37 % 60))) + "\n";

    private static TrainingData Rows(int rows, string keys = "")
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", Csv(rows));
        return Given.Open(folder, Given.Train("""{"files": "t.csv", "template": {"text": "{t}"}}""", keys));
    }

    private static TrainingData Mixture(string keys = "")
    {
        using var folder = new TempFolder();
        folder.Write("large.csv", Csv(100));
        folder.Write("small.csv", Csv(5));
        return Given.Open(folder, Given.Train(
            """
            {"files": "large.csv", "template": {"text": "{t}"}},
            {"files": "small.csv", "template": {"text": "{t}"}, "weight": 3}
            """,
            keys));
    }
}
