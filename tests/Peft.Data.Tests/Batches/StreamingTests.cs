using Peft.Data.Batches;
using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Formats;

namespace Peft.Data.Tests.Batches;

/// <summary>What is read when, what is known before, and what goes wrong.</summary>
public sealed class StreamingTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Only_what_the_next_batches_need_is_encoded()
    {
        _folder.Rows("t.csv", 5000);
        var encoded = 0;
        var counting = Given.Characters with
        {
            Encode = text =>
            {
                Interlocked.Increment(ref encoded);
                return Given.Characters.Encode(text);
            },
        };
        using var data = TrainingData.Open(
            Given.Train(Streamed.Set("t.csv"), Streamed.Keys(2000, "\"bucket_window\": 10")), counting, _folder.Path);
        Assert.Equal(0, encoded);
        var stream = data.Batches(8, 0);
        Assert.Equal(0, encoded);
        stream.Next();
        Assert.InRange(encoded, 80, 80 + 128);
    }

    [Fact]
    public void A_row_without_a_value_is_told_when_its_block_is_read_and_again_when_asked_again()
    {
        _folder.Write(
            "t.jsonl",
            string.Concat(
                Enumerable.Range(1, 30).Select(
                    n => n == 25 ? "{\"t\": null, \"n\": 25}\n" : $"{{\"t\": \"row {n}\", \"n\": {n}}}\n")));
        using var data = Given.Open(_folder, Given.Train(Streamed.Set("t.jsonl"), Streamed.Keys(10)));
        var stream = data.Batches(5, 0);
        Streamed.Take(stream, 3);
        var error = Assert.Throws<DataRowException>(() => Streamed.Take(stream, 2));
        Assert.Equal(
            "t.jsonl:25: column 't' is null or missing; expected a value. Correct the row, leave it out with `filter:`,"
            + " or set `on_bad_row: skip`.",
            error.Message);
        Assert.Equal(new RowId("t.jsonl", 25), error.Row);
        Assert.Equal(error.Message, Assert.Throws<DataRowException>(() => Streamed.Take(stream, 2)).Message);
    }

    [Fact]
    public void A_row_that_is_too_long_is_told_when_it_is_drawn()
    {
        _folder.Write(
            "t.jsonl",
            string.Concat(
                Enumerable.Range(1, 30).Select(n => $"{{\"t\": \"{new string('x', n == 17 ? 50 : 5)}\"}}\n")));
        using var data = Given.Open(_folder, Given.Train(
            Streamed.Set("t.jsonl"),
            Streamed.Keys(10, "\"max_length\": 20, \"shuffle\": false, \"bucket_window\": 1")));
        var stream = data.Batches(4, 0);
        Streamed.Take(stream, 4);
        var first = Assert.Throws<DataRowException>(stream.Next);
        Assert.StartsWith(
            "t.jsonl:17: the text has 51 tokens (with end-of-text); expected at most 19 of max_length 20.",
            first.Message);
        Assert.Equal(first.Message, Assert.Throws<DataRowException>(stream.Next).Message);
    }

    [Fact]
    public void A_data_set_without_any_sequence_is_told_with_its_counts()
    {
        _folder.Write("a.csv", "t\nx\ny\n");
        using var data = Given.Open(
            _folder, Given.Train(Streamed.Set("a.csv", "\"filter\": \"t == 'z'\""), Streamed.Keys(10)));
        Assert.Equal(
            "data.train[0]: no sequence: 2 rows read, 2 left out by the filter, 0 bad, 0 too long; expected at"
                + " least one."
            + " Correct the filter or the files.",
            Assert.Throws<UserException>(data.Batches(2, 0).Next).Message);
        using var weighted = Given.Open(_folder, Given.Train(
            Streamed.Set("a.csv", "\"weight\": 1"),
            Streamed.Keys(10, "\"max_length\": 3, \"on_long_answer\": \"skip\", \"add_eos\": true")));
        Assert.Equal(3, weighted.Batches(2, 0).Next().Length);
    }

    [Theory]
    [InlineData("{\"files\": \"t.parquet\", \"template\": {\"text\": \"{t}\"}}", "", 50L, null)]
    [InlineData("{\"files\": \"t.parquet\", \"template\": {\"text\": \"{t}\"}, \"limit\": 20}", "", 20L, null)]
    [InlineData("{\"files\": [\"t.parquet\", \"u.parquet\"], \"template\": {\"text\": \"{t}\"}}", "", 57L, null)]
    [InlineData(
        "{\"files\": \"t.parquet\", \"template\": {\"text\": \"{t}\"}, \"filter\": \"n > 3\"}", "", null,
        "data.train[0]: it has a filter")]
    [InlineData(
        "{\"files\": \"t.parquet\", \"template\": {\"text\": \"{t}\"}, \"on_bad_row\": \"skip\"}", "", null,
        "data.train[0]: on_bad_row is skip")]
    [InlineData(
        "{\"files\": \"t.parquet\", \"template\": {\"text\": \"{t}\"}}", ", \"on_long_answer\": \"skip\"", null,
        "on_long_answer is skip")]
    [InlineData(
        "{\"files\": \"t.parquet\", \"template\": {\"text\": \"{t}\"}}", ", \"packing\": true", null, "with packing")]
    [InlineData(
        "{\"files\": \"t.csv\", \"template\": {\"text\": \"{t}\"}}", "", null,
        "data.train[0]: t.csv is not a Parquet file")]
    public void The_number_of_sequences_is_known_where_it_costs_nothing(
        string set, string more, long? count, string? why)
    {
        _folder.Rows("t.parquet", 50);
        _folder.Rows("u.parquet", 7);
        _folder.Rows("t.csv", 5);
        using var data = Given.Open(_folder, Given.Train(set, "\"streaming\": true" + more));
        Assert.True(data.IsStreaming);
        Assert.Equal((count, why), (data.TrainCount, data.WhyUnknown));
        Assert.Throws<InvalidOperationException>(() => data.Train);
    }

    [Fact]
    public void Several_data_sets_of_unknown_size_need_weights()
    {
        _folder.Rows("t.csv", 5);
        _folder.Rows("t.parquet", 5);
        var sets = Streamed.Set("t.parquet") + ", " + Streamed.Set("t.csv");
        var error = Assert.Throws<UserException>(() => Given.Open(_folder, Given.Train(sets, "\"streaming\": true")));
        Assert.Equal(
            "data.train: 2 data sets of unknown size without `weight:`, streamed (data.train[1]: t.csv is not a"
                + " Parquet file); expected"
            + " weights, or sizes that are known without reading (Parquet without a filter)."
            + " Give each data set a `weight:`.",
            error.Message);
        using var inOrder = Given.Open(_folder, Given.Train(sets, "\"streaming\": true, \"shuffle\": false"));
        Assert.Null(inOrder.TrainCount);
    }

    [Fact]
    public void What_cannot_be_streamed_is_refused_when_the_recipe_is_read()
    {
        var error = Assert.Throws<FaultsException>(() => Given.Train(
            Streamed.Set("t.csv", "\"task_column\": \"k\""),
            "\"streaming\": true, \"packing\": true, \"packing_strategy\": \"wrapped\", \"shuffle_buffer_size\": 0"));
        Assert.Equal(
            ["data.packing_strategy", "data.shuffle_buffer_size", "data.train[0].task_column"],
            error.Items.Select(fault => fault.Place.Split(' ')[^1]).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("{\"t\": \"another row\"}\n")]
    [InlineData("{\"t\": \"half a ro")]
    public void A_file_that_is_written_to_while_it_is_read_is_refused(string added)
    {
        _folder.Rows("t.jsonl", 50);
        using var data = Given.Open(_folder, Given.Train(Streamed.Set("t.jsonl"), Streamed.Keys(10)));
        var stream = data.Batches(5, 0);
        stream.Next();
        File.AppendAllText(_folder["t.jsonl"], added);
        Assert.Equal(
            "t.jsonl: changed while it was being read; expected a file that nobody writes to. Start again when it"
                + " is complete, or train on a copy.",
            Assert.Throws<DataFileException>(() => Streamed.Take(stream, 10)).Message);
    }

    [Fact]
    public void Rows_are_packed_as_they_come()
    {
        _folder.Rows("t.csv", 200);
        using var data = Given.Open(_folder, Given.Train(
            Streamed.Set("t.csv"), Streamed.Keys(100, "\"packing\": true, \"max_length\": 128, \"bucket_window\": 8")));
        var stream = data.Batches(4, 0);
        for (var epoch = 0; epoch < 2; epoch++)
        {
            var batches = new List<TokenBatch>();
            while (stream.Epoch == epoch)
                batches.Add(stream.Next());
            Assert.Equal(
                Enumerable.Range(1, 200).Select(row => (long)row),
                batches.SelectMany(batch => batch.Rows).Select(row => row.Row).Order());
            Assert.All(batches, batch => Assert.InRange(batch.Length, 1, 128));
            Assert.InRange(
                batches.Sum(batch => batch.Lengths.Sum()) / (double)batches.Sum(batch => batch.Ids.Length), 0.9, 1);
        }
    }

    [Fact]
    public void What_became_of_all_rows_is_counted_while_they_are_streamed()
    {
        // Of 30 rows each fourth lacks a value; x has lengths 2 to 30, and with BOS and EOS 12 rows have more than 20.
        _folder.WriteParquet(
            "bad.parquet", 7,
            ("t", Enumerable.Range(0, 30).Select(row => row % 4 > 0 ? new string('x', 1 + row) : null).ToArray()));
        using var skipping = Given.Open(_folder, Given.Train(
            Streamed.Set("bad.parquet", "\"on_bad_row\": \"skip\", \"filter\": \"t != 'xx'\""),
            Streamed.Keys(6, "\"max_length\": 20, \"on_long_answer\": \"skip\", \"bucket_window\": 1")));
        var lengths = Enumerable.Range(0, 30).Where(row => row % 4 > 0 && row != 1).Select(row => 1 + row).ToList();
        var kept = lengths.FindAll(length => length + 2 <= 20);
        var once = new StreamCounts(
            30, 1, 8, lengths.Count, lengths.Count - kept.Count, 0, kept.Count, kept.Sum(l => l + 2),
            kept.Sum(l => l + 1));
        var stream = skipping.Batches(kept.Count, 0);
        stream.Next();
        Assert.Equal(once.Sequences, stream.Counts!.Sequences);
        stream.Next();
        stream.Next();
        Assert.Equal(3 * once.Sequences, stream.Counts.Sequences);
        Assert.Equal(3 * once.Tokens, stream.Counts.Tokens);
        Assert.Equal(3 * once.LearnedTokens, stream.Counts.LearnedTokens);
        Assert.InRange(stream.Counts.BadRows, 2 * once.BadRows, 3 * once.BadRows);

        using var cutting = Given.Open(_folder, Given.Train(
            Streamed.Set("bad.parquet", "\"on_bad_row\": \"skip\""),
            Streamed.Keys(60, "\"max_length\": 20, \"on_long_answer\": \"cut\", \"bucket_window\": 1")));
        var cut = cutting.Batches(30, 0);
        cut.Next();
        var all = Enumerable.Range(0, 30).Where(row => row % 4 > 0).Select(row => 1 + row).ToList();
        var room = 19; // with BOS; a text that is cut has no end
        var tooLong = all.FindAll(length => length + 2 > 20);
        Assert.Equal(
            new StreamCounts(
                30, 0, 8, 22, 0, 0, 22, all.Sum(l => Math.Min(l + 2, 20)), all.Sum(l => Math.Min(l + 1, 19)),
                tooLong.Sum(l => l - room), tooLong.Count(l => l > room)),
            cut.Counts);
        using var plain = Given.Open(_folder, Given.Train(Streamed.Set("bad.parquet", "\"on_bad_row\": \"skip\"")));
        Assert.Null(plain.Batches(4, 0).Counts);
    }

    [Fact]
    public void A_token_that_the_model_lacks_is_told_where_rows_are_streamed_too()
    {
        _folder.Write("a.csv", "t\nabc\n");
        var small = Given.Characters with { VocabularySize = 'c' };
        foreach (var keys in new[] { "", Streamed.Keys(10) })
        {
            var options = Given.Train(Streamed.Set("a.csv"), keys);
            var error = Assert.ThrowsAny<UserException>(() =>
            {
                using var data = TrainingData.Open(options, small, _folder.Path);
                data.Batches(1, 0).Next();
            });
            Assert.Equal(
                "a.csv, row 1: a token with id 99; expected ids below the model's vocab_size 99. "
                    + "Use the tokenizer of the base model.",
                error.Message);
        }
    }

    [Fact]
    public void The_first_rows_are_counted_as_a_sample()
    {
        _folder.Rows("a.csv", 50);
        _folder.Rows("b.csv", 5);
        using var data = Given.Open(_folder, Given.Train(
            Streamed.Set("a.csv", "\"filter\": \"(n | string.to_int) >= 2\"") + ", "
                + Streamed.Set("b.csv", "\"weight\": 2"), Streamed.Keys(10)));
        var blocks = data.Sample();
        Assert.Equal(
            [("a", 12L, 2L, 10L), ("b", 5L, 0L, 5L)],
            blocks.Select(set => (set.Name, set.Rows, set.FilteredRows, set.Sequences)));
    }

    [Fact]
    public void Held_out_rows_are_read_before_training_and_tasks_keep_their_ids()
    {
        _folder.Rows("a.csv", 20);
        _folder.Rows("b.csv", 6);
        using var data = Given.Open(_folder, Given.Options(
            $$"""
            {"train": [{{Streamed.Set("a.csv", "\"task\": \"second\", \"weight\": 1")}},
                       {{Streamed.Set("b.csv", "\"task\": \"first\", \"weight\": 1")}}],
             "eval": [{{Streamed.Set("b.csv", "\"task\": \"first\"")}},
                      {{Streamed.Set("a.csv", "\"task\": \"other\", \"limit\": 2")}}], "streaming": true}
            """));
        Assert.Equal(["second", "first", "other"], data.TaskNames);
        Assert.Equal((8L, 2), (data.Eval.Count, data.TrainTaskCount));
        var batch = data.Batches(40, 0).Next();
        Assert.Equal(batch.Rows.Select(row => row.File == "a.csv" ? 0 : 1), batch.TaskIds);
    }
}
