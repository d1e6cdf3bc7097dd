using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Tests;

public class TrainingDataTests
{
    private const string Text = "\"template\": {\"text\": \"{t}\"}";

    [Fact]
    public void Statistics_tell_what_became_of_the_rows()
    {
        using var folder = new TempFolder();
        folder.Write("a.csv", "t,u\naaaa,1\nbbbbbbbbbbbbbbbb,1\nc,0\n,1\ndd,1\n");
        folder.Write("b.csv", "q,a\n0123456789,yes\nx,no\n");
        using var data = Given.Open(folder, Given.Options(
            """
            {"train": [{"files": "a.csv", "template": {"text": "{t}"}, "filter": "u == '1'", "on_bad_row": "skip"},
                       {"files": "b.csv", "template": {"prompt": "{q}", "answer": "{a}"}, "task": "yesno"}],
             "eval": [{"files": "b.csv", "template": {"prompt": "{q}", "answer": "{a}"}, "task": "yesno",
                       "name": "held"}],
             "max_length": 10, "on_long_answer": "skip"}
            """));
        var all = data.Train.Statistics;
        Assert.Equal((7L, 1L, 1L, 1L, 4L), (all.Rows, all.FilteredRows, all.BadRows, all.LongRows, all.Sequences));
        Assert.Equal(
            (6L + 4 + 10 + 5, 5L + 3 + 4 + 3, 5L, 1L),
            (all.Tokens, all.LearnedTokens, all.CutTokens, all.CutSequences));
        Assert.Equal(new LengthStatistics(4, 5, 10, 10, 10), all.Lengths);
        Assert.Equal([new("a", 2), new("yesno", 2)], all.Tasks);
        Assert.Equal(["a", "b"], data.Train.DataSets.Select(set => set.Name));
        Assert.Equal(["held"], data.Eval.DataSets.Select(set => set.Name));
        Assert.Equal(["a", "yesno"], data.TaskNames);
        Assert.Equal(2, data.TrainTaskCount);
        Assert.Equal(2, data.Eval.Count);
        Assert.Equal(
            [
                new DataFileHash("a.csv", Sha256.OfFile(folder["a.csv"]), 42),
                new DataFileHash("b.csv", Sha256.OfFile(folder["b.csv"]), 24),
            ],
            data.Files);
        Assert.Equal([0, 0, 1, 1], data.Train.Sequential(4).Single().TaskIds);
    }

    [Fact]
    public void A_row_of_a_single_token_is_counted_by_itself()
    {
        using var folder = new TempFolder();
        folder.Write("a.csv", "t\na\nabcde\nab\n");
        using var data = TrainingData.Open(
            Given.Train(
                $$"""{"files": "a.csv", {{Text}}}""",
                "\"add_eos\": false, \"on_long_answer\": \"skip\", \"max_length\": 4"),
            Given.NoSpecials, folder.Path);
        var all = data.Train.Statistics;
        Assert.Equal(
            (3L, 1L, 1L, 2L, 1L), (all.Rows, all.LongRows, all.UnlearnableRows, all.DroppedRows, all.Sequences));
    }

    [Fact]
    public void Task_ids_follow_the_recipes_list_then_first_sight()
    {
        using var folder = new TempFolder();
        folder.Write("a.csv", "t,k\nxx,late\nxx,early\n");
        using var data = Given.Open(folder, Given.Train(
            $$"""{"files": "a.csv", "task_column": "k", {{Text}}}, {"files": "a.csv", "task": "named", {{Text}}}"""));
        Assert.Equal(["named", "late", "early"], data.TaskNames);
        Assert.Equal([1, 2, 0, 0], data.Train.Sequential(9).Single().TaskIds);
    }

    [Fact]
    public void The_data_hash_knows_bytes_and_order()
    {
        using var folder = new TempFolder();
        folder.Write("a.csv", "t\nxx\n");
        folder.Write("b.csv", "t\nyy\n");
        Assert.NotEqual(Hash("[\"a.csv\", \"b.csv\"]"), Hash("[\"b.csv\", \"a.csv\"]"));
        var before = Hash("\"a.csv\"");
        Assert.Equal(before, Hash("\"a.csv\""));
        folder.Write("a.csv", "t\nxz\n");
        Assert.NotEqual(before, Hash("\"a.csv\""));

        string Hash(string files)
        {
            using var data = Given.Open(folder, Given.Train($$"""{"files": {{files}}, {{Text}}}"""));
            return data.Train.DataSha256;
        }
    }

    [Fact]
    public void Wrapped_texts_are_blocks_of_one_task()
    {
        using var folder = new TempFolder();
        folder.Write("a.csv", "t,k\nabc,x\ndef,y\nghi,x\n");
        using var data = Given.Open(folder, Given.Train(
            $$"""{"files": "a.csv", "task_column": "k", {{Text}}}""",
            "\"packing\": true, \"packing_strategy\": \"wrapped\", \"max_length\": 6"));
        Assert.Equal(
            ["<abc>g", "<hi>", "<def>"], Enumerable.Range(0, 3).Select(at => Given.Text(data.Train[at].Ids)));
    }

    [Fact]
    public void Beyond_the_memory_budget_batches_stay_the_same()
    {
        using var folder = new TempFolder();
        folder.WriteParquet("t.parquet", ("t", Numbers(60000, row => new string('x', 1 + row % 50) + row)));
        using var inMemory = Given.Open(folder, Given.Train($$"""{"files": "t.parquet", {{Text}}}"""));
        using var onDisk = Given.Open(
            folder, Given.Train($$"""{"files": "t.parquet", {{Text}}}""", "\"memory_budget_mb\": 1"));
        Assert.Equal((false, true), (inMemory.Train.IsOnDisk, onDisk.Train.IsOnDisk));
        var (first, second) = (inMemory.Batches(16, 1), onDisk.Batches(16, 1));
        for (var batch = 0; batch < 200; batch++)
            Assert.Equal(first.Next().Ids, second.Next().Ids);
    }

    [Fact]
    public void All_faults_of_all_data_sets_come_together()
    {
        using var folder = new TempFolder();
        folder.Write("a.csv", "t\nx\n");
        var error = Assert.Throws<FaultsException>(() => Given.Open(folder, Given.Options(
            """
            {"train": [{"files": "missing.csv", "template": {"text": "{t}"}},
                       {"files": "a.csv", "template": {"text": "{x}"}}],
             "eval": [{"files": "a.csv", "template": {"text": "{y}"}}]}
            """)));
        Assert.StartsWith("the data section has 3 faults:", error.Message);
        Assert.Equal(
            [
                "data.train[0].files", "recipe.json:2: data.train[1].template.text",
                "recipe.json:3: data.eval[0].template.text",
            ],
            error.Items.Select(fault => fault.Place));
    }

    [Fact]
    public void No_data_set_and_no_end_token_are_faults()
    {
        using var folder = new TempFolder();
        var error = Assert.Throws<FaultsException>(() => TrainingData.Open(
            Given.Options("{}"), Given.Characters with { Ends = [] }, folder.Path));
        Assert.Equal(["data.train", "data.add_eos"], error.Items.Select(fault => fault.Place));
    }

    [Fact]
    public void A_token_that_the_model_lacks_is_refused_with_its_row_in_training_and_preview()
    {
        using var folder = new TempFolder();
        folder.Write("a.csv", "t\nabc\nxyz\n");
        var options = Given.Train($$"""{"files": "a.csv", {{Text}}}""");
        var encoder = Given.Characters with { VocabularySize = 'y' };
        const string Message =
            "a.csv, row 2: a token with id 121; expected ids below the model's vocab_size 121."
            + " Use the tokenizer of the base model.";
        Assert.Equal(
            Message, Assert.Throws<DataRowException>(() => TrainingData.Open(options, encoder, folder.Path)).Message);
        Assert.Equal(Message, Assert.Throws<DataRowException>(() => DataPreview.Read(
            options, encoder, id => new PreviewToken(id, $"{id}", false, false), folder.Path, rows: 2)).Message);
        using var larger = TrainingData.Open(options, encoder with { VocabularySize = 'z' + 1 }, folder.Path);
        Assert.Equal(2, larger.Train.Count);
    }

    [Fact]
    public void A_data_set_without_any_sequence_is_told_with_its_counts()
    {
        using var folder = new TempFolder();
        folder.Write("a.csv", "t\nx\ny\n");
        var error = Assert.Throws<UserException>(() => Given.Open(folder, Given.Train(
            $$"""{"files": "a.csv", "filter": "t == 'z'", {{Text}}}""")));
        Assert.Equal(
            "data.train[0]: no sequence: 2 rows read, 2 left out by the filter, 0 bad, 0 too long; expected at"
                + " least one."
            + " Correct the filter or the files.",
            error.Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("\"a cut row")]
    public void A_file_that_is_written_to_while_it_is_read_is_refused(string added)
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "t\n" + string.Concat(Enumerable.Range(0, 20000).Select(row => $"ab{row}\n")));
        var isChanged = false;
        var error = Assert.Throws<DataFileException>(() => TrainingData.Open(
            Given.Train($$"""{"files": "t.csv", {{Text}}}"""), Given.Characters, folder.Path, _ =>
            {
                if (isChanged)
                    return;
                isChanged = true;
                if (added.Length > 0)
                    File.AppendAllText(folder["t.csv"], added);
                else
                    File.SetLastWriteTimeUtc(folder["t.csv"], DateTime.UtcNow.AddSeconds(1));
            }));
        Assert.Equal(
            "t.csv: changed while it was being read; expected a file that nobody writes to. Start again when it is"
                + " complete, or train on a copy.",
            error.Message);
    }

    [Fact]
    public void A_file_that_is_cut_while_it_is_read_is_refused()
    {
        using var folder = new TempFolder();
        static string Random(int row) =>
            Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(BitConverter.GetBytes(row)), 0, 16);
        folder.WriteParquet("t.parquet", ("t", Numbers(400000, Random)));
        const string Found = "t.parquet: changed while it was being read; ";
        Assert.StartsWith(Found, Assert.Throws<DataFileException>(() => TrainingData.Open(
            Given.Train($$"""{"files": "t.parquet", {{Text}}}"""), Given.Characters, folder.Path, _ =>
            {
                using var file = new FileStream(
                    folder["t.parquet"], FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
                file.SetLength(100);
            })).Message);
    }

    [Fact]
    public void Reading_can_be_cancelled()
    {
        using var folder = new TempFolder();
        folder.WriteParquet("t.parquet", ("t", Numbers(20000, row => $"ab{row}")));
        using var source = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() => TrainingData.Open(
            Given.Train($$"""{"files": "t.parquet", {{Text}}}"""), Given.Characters, folder.Path, _ =>
                source.Cancel(), cancellation: source.Token));
    }

    private static string[] Numbers(int rows, Func<int, string> text) => [.. Enumerable.Range(0, rows).Select(text)];
}
