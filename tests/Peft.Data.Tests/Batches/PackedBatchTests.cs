using Peft.Data.Batches;
using Peft.Formats;

namespace Peft.Data.Tests.Batches;

public class PackedBatchTests
{
    private const string Packing = "\"packing\": true, \"max_length\": 64";

    [Theory]
    [InlineData(100, 4, "")]
    [InlineData(100, 3, "\"bucket_window\": 2")]
    [InlineData(100, 4, "\"bucket_window\": 1")]
    [InlineData(7, 4, "")]
    [InlineData(1, 4, "")]
    [InlineData(100, 4, "\"shuffle\": false")]
    public void Every_sequence_comes_once_an_epoch_in_rows_of_max_length(int count, int batchSize, string keys)
    {
        using var data = Rows(count, keys);
        var stream = data.Batches(batchSize, seed: 3);
        for (var epoch = 0; epoch < 3; epoch++)
        {
            var batches = Epoch(stream, epoch);
            Assert.Equal(
                Enumerable.Range(1, count).Select(row => (long)row),
                batches.SelectMany(b => b.Rows).Select(r => r.Row).Order());
            Assert.All(batches, batch =>
            {
                Assert.InRange(batch.Length, 1, 64);
                Assert.InRange(batch.BatchSize, 1, batchSize);
            });
        }
    }

    [Fact]
    public void Little_is_padding_and_the_first_epoch_is_counted_without_being_built()
    {
        using var data = Rows(400);
        var shape = data.FirstEpoch(4, 3);
        var batches = Epoch(data.Batches(4, 3), 0);

        Assert.Equal(
            new EpochShape(
                400, batches.Sum(b => b.BatchSize), batches.Count, batches.Sum(b => b.Lengths.Sum()),
                batches.Sum(b => b.Ids.Length)),
            shape);
        Assert.Equal(batches.Count, data.Batches(4, 3).BatchesPerEpoch);
        Assert.InRange(shape.Fill, 0.97, 1);
        Assert.InRange(shape.SequencesPerRow, 1.8, 2.1);
        var single = data.FirstEpoch(4, 3, isPacked: false);
        Assert.Equal((400L, 400L, 100L, shape.Tokens), (single.Sequences, single.Rows, single.Batches, single.Tokens));
        Assert.True(single.Padding > shape.Padding);
    }

    [Fact]
    public void Batches_of_a_window_differ_by_at_most_a_row()
    {
        using var data = Rows(400, "\"bucket_window\": 64");
        var sizes = Epoch(data.Batches(7, 3), 0).Select(batch => batch.BatchSize).Distinct().Order().ToList();
        Assert.Contains(sizes.Count, new[] { 1, 2 });
        Assert.InRange(sizes[0], 6, 7);
    }

    [Fact]
    public void A_row_holds_whole_sequences_with_their_own_targets_tasks_and_origins()
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "q,a,k\nabc,d,x\na,b,y\nabcd,ef,x\n");
        using var data = Given.Open(folder, Given.Train(
            """{"files": "t.csv", "template": {"prompt": "{q}", "answer": "{a}"}, "task_column": "k"}""",
            "\"packing\": true, \"max_length\": 10"));
        var batch = Epoch(data.Batches(4, 0), 0).Single();

        Assert.Equal((2, 10, 3, true), (batch.BatchSize, batch.Length, batch.SequenceCount, batch.IsPacked));
        Assert.Equal(
            ["<abcd><ab>", "<abcdef>__"], batch.Ids.Chunk(10).Select(Given.Text).Order(StringComparer.Ordinal));
        for (var sequence = 0; sequence < 3; sequence++)
        {
            var ids = Given.Text(batch.Ids.Skip(batch.Starts[sequence]).Take(batch.Lengths[sequence]));
            var targets = Given.Text(batch.Targets.Skip(batch.Starts[sequence]).Take(batch.Lengths[sequence]));
            Assert.Equal(
                batch.Rows[sequence].Row switch
                {
                    1 => ("<abcd>", "...d>.", 0),
                    2 => ("<ab>", ".b>.", 1),
                    _ => ("<abcdef>", "....ef>.", 0),
                },
                (ids, targets, batch.TaskIds[sequence]));
            Assert.All(
                Enumerable.Range(batch.Starts[sequence], batch.Lengths[sequence]),
                at => Assert.Equal(sequence, batch.SequenceAt(at)));
        }

        Assert.Equal(7, batch.LearnedTokens);
    }

    [Fact]
    public void Long_texts_go_on_in_further_sequences()
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "t\nabcdefghijk\nxy\n");
        using var data = Given.Open(
            folder,
            Given.Train("""{"files": "t.csv", "template": {"text": "{t}"}}""", "\"packing\": true, \"max_length\": 6"));
        Assert.Equal(
            ["<abcde", "<fghij", "<k>", "<xy>"], Enumerable.Range(0, 4).Select(at => Given.Text(data.Train[at].Ids)));
        Assert.Equal([1L, 1, 1, 2], Enumerable.Range(0, 4).Select(at => data.Train[at].Row.Row));
        Assert.Equal(
            (2L, 4L, 0L),
            (data.Train.Statistics.Rows, data.Train.Statistics.Sequences, data.Train.Statistics.LongRows));
    }

    [Theory]
    [InlineData("")]
    [InlineData("\"bucket_window\": 1")]
    [InlineData("\"shuffle\": false")]
    public void Resuming_anywhere_equals_going_on(string keys)
    {
        using var data = Rows(90, keys);
        CheckResume(data);
    }

    [Fact]
    public void Resuming_a_weighted_mixture_equals_going_on()
    {
        using var folder = new TempFolder();
        folder.Write("large.csv", Csv(80));
        folder.Write("small.csv", Csv(5));
        using var data = Given.Open(folder, Given.Train(
            """
            {"files": "large.csv", "template": {"text": "{t}"}},
            {"files": "small.csv", "template": {"text": "{t}"}, "weight": 3}
            """,
            Packing + ", \"bucket_window\": 2"));
        CheckResume(data);
    }

    [Fact]
    public void A_position_with_other_rows_is_refused()
    {
        using var packed = Rows(20);
        using var plain = Rows(20, "\"packing\": false");
        var error = Assert.Throws<UserException>(() => plain.Batches(4, 0, packed.Batches(4, 0).State));
        Assert.StartsWith(
            "resume: length of packed rows (0: no packing) was 64 when the checkpoint was written and is 0 now",
            error.Message);
    }

    [Fact]
    public void Seeds_differ_and_a_seed_repeats()
    {
        using var data = Rows(60);
        Assert.Equal(Order(0), Order(0));
        Assert.NotEqual(Order(0), Order(1));

        List<long> Order(long seed) =>
            [.. Epoch(data.Batches(4, seed), 0).SelectMany(batch => batch.Rows).Select(row => row.Row)];
    }

    private static void CheckResume(TrainingData data)
    {
        var whole = data.Batches(3, 11);
        var states = new List<string>();
        var batches = new List<TokenBatch>();
        for (var at = 0; at < 40; at++)
        {
            states.Add(whole.State.ToJson());
            batches.Add(whole.Next());
        }

        for (var at = 0; at < states.Count; at++)
        {
            var state = BatchStreamState.Parse(states[at]);
            Assert.Equal(states[at], state.ToJson());
            var resumed = data.Batches(3, 11, state);
            foreach (var expected in batches.Skip(at).Take(8))
            {
                var found = resumed.Next();
                Assert.Equal(expected.Ids, found.Ids);
                Assert.Equal(expected.Starts, found.Starts);
                Assert.Equal(expected.Rows, found.Rows);
            }
        }
    }

    private static List<TokenBatch> Epoch(BatchStream stream, long epoch)
    {
        var batches = new List<TokenBatch>();
        while (stream.Epoch == epoch)
            batches.Add(stream.Next());
        return batches;
    }

    // Row n has a text of between 1 and 60 characters.
    private static string Csv(int rows) =>
        "t\n" + string.Join(
            '\n',
            Enumerable.Range(0, rows).Select(row => new string((char)('a' + row % 26), 1 + row * 37 % 60))) + "\n";

    private static TrainingData Rows(int rows, string keys = "")
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", Csv(rows));
        var all = keys.Contains("packing") ? keys : keys == "" ? Packing : $"{Packing}, {keys}";
        return Given.Open(folder, Given.Train("""{"files": "t.csv", "template": {"text": "{t}"}}""", all));
    }
}
