using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Formats;

namespace Peft.Data.Tests.Examples;

public class DataSetOptionsTests
{
    [Fact]
    public void A_name_under_only_that_no_data_set_has_is_refused_with_the_nearest()
    {
        var error = Assert.Throws<FaultsException>(() => Given.Options("""
            {"train": [{"name": "capitals", "files": "a.csv", "template": {"text": "{t}"}}], "only": ["capital"]}
            """));
        Assert.EndsWith(
            "data.only  'capital'; expected names of data sets under train: capitals. Did you mean capitals?",
            error.Message);
    }

    [Fact]
    public void Every_key_is_read()
    {
        var options = Given.Options(
            """
            {"train": [{"name": "qa", "files": ["a.x", "b.x"], "format": "jsonl", "filter": "a > 1",
              "columns": {"c": "a + 1"}, "template": {"prompt": "{a}", "answer": "{c}"}, "task_column": "t",
              "weight": 2, "limit": 10, "on_bad_row": "skip"}],
             "max_length": 64, "shuffle": false, "seed": 0, "train_on_prompt": true, "add_eos": false,
             "on_long_answer": "cut", "bucket_window": 1, "memory_budget_mb": 5, "spill_directory": "/x"}
            """);
        var set = options.Train[0];
        Assert.Equal(("qa", DataFormat.JsonLines, "a > 1", "t", 2.0, 10L, BadRowPolicy.Skip, "data.train[0]"),
            (set.Name, set.Format, set.Filter!.Text, set.TaskColumn, set.Weight, set.Limit, set.OnBadRow, set.Place));
        Assert.Equal(["a.x", "b.x"], set.Files);
        Assert.Equal(("c", "a + 1"), (Assert.Single(set.Columns).Key, set.Columns[0].Value.Text));
        Assert.Equal((64, false, 0L, true, false, LongAnswerPolicy.Cut, 1, 5, "/x"),
            (options.MaxLength, options.Shuffle, options.Seed, options.TrainOnPrompt, options.AddEos,
                options.OnLongAnswer, options.BucketWindow, options.MemoryBudgetMb, options.SpillDirectory));
    }

    [Fact]
    public void The_name_is_that_of_the_first_file_unless_given()
    {
        var set = Given.Train("""{"files": "folder/train.jsonl.gz", "template": {"text": "{t}"}}""").Train[0];
        Assert.Equal("train", set.Name);
        Assert.True(set.IsText);
        Assert.Null(Given.Train("""{"files": "a.csv", "template": {"text": "{t}"}}""").Seed);
    }

    [Theory]
    [InlineData("""{"template": {"text": "{t}"}}""", "data.train[0].files", "missing")]
    [InlineData("""{"files": "a.csv", "template": {"prompt": "{a}"}}""", "data.train[0].template", "prompt")]
    [InlineData(
        """{"files": "a.csv", "template": {"text": "{a}", "answer": "{b}"}}""", "data.train[0].template",
        "answer and text")]
    [InlineData(
        """{"files": "a.csv", "template": {"text": "constant"}}""", "data.train[0].template.text", "'constant'")]
    [InlineData("""{"files": "a.csv", "template": {"text": "{a"}}""", "data.train[0].template.text", "'{a'")]
    [InlineData(
        """{"files": "a.csv", "template": {"text": "{{ if a }}x"}}""", "data.train[0].template.text",
        "line 1, column 11 of the text: ")]
    [InlineData(
        """{"files": "a.csv", "template": {"completion": "{a}"}}""", "data.train[0].template.completion",
        "unknown key")]
    [InlineData(
        """{"files": "a.csv", "template": {"text": "{a}"}, "filter": "a = 1"}""", "data.train[0].filter",
        "line 1, column 1 of the text: 'a = 1'")]
    [InlineData(
        """{"files": "a.csv", "template": {"text": "{a}"}, "columns": {"x": "a +"}}""", "data.train[0].columns.x",
        "line 1")]
    [InlineData("""{"files": "a.csv", "template": {"text": "{a}"}, "weight": 0}""", "data.train[0].weight", "0")]
    [InlineData(
        """{"files": "a.csv", "template": {"text": "{a}"}, "task": "x", "task_column": "y"}""",
        "data.train[0].task_column", "given together with task")]
    [InlineData(
        """{"files": "a.csv", "template": {"text": "{a}"}, "format": "parkett"}""", "data.train[0].format",
        "'parkett'")]
    [InlineData(
        """{"files": "a.csv", "template": {"text": "{a}"}, "on_bad_row": "ignore"}""", "data.train[0].on_bad_row",
        "'ignore'")]
    [InlineData(
        """{"files": "a.csv", "template": {"text": "{a}"}, "fliter": "x"}""", "data.train[0].fliter", "unknown key")]
    [InlineData(
        """{"files": "a.csv", "template": {"text": "{a}"}, "columns": {"x": [1]}}""", "data.train[0].columns",
        "x: a list of 1 item")]
    public void A_wrong_entry_is_one_fault_that_names_its_key(string set, string place, string found)
    {
        var error = Assert.Throws<FaultsException>(() => Given.Train(set));
        var fault = Assert.Single(error.Items);
        Assert.EndsWith(place, fault.Place);
        Assert.StartsWith(found, fault.Found);
    }

    [Fact]
    public void Wrapping_needs_plain_text()
    {
        const string Set = """{"files": "a.csv", "template": {"prompt": "{a}", "answer": "{b}"}}""";
        var error = Assert.Throws<FaultsException>(
            () => Given.Train(Set, "\"packing\": true, \"packing_strategy\": \"wrapped\""));
        Assert.Contains(
            "wrapped, with prompts and answers only; expected a data set with a `text` template. Use"
                + " packing_strategy: bfd.",
            error.Message);
        Assert.Equal(512, Given.Train(Set, "\"packing\": true").RowLength);
        Assert.Equal(0, Given.Train(Set, "\"packing_strategy\": \"bfd\"").RowLength);
    }
}
