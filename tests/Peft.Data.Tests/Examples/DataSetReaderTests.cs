using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Formats;

namespace Peft.Data.Tests.Examples;

public class DataSetReaderTests
{
    private const string Template = "\"template\": {\"prompt\": \"Q: {q}\", \"answer\": \"{a}\"}";

    [Fact]
    public void Parquet_rows_become_examples()
    {
        using var folder = new TempFolder();
        folder.WriteParquet(
            "t.parquet", ("q", new[] { "one", "two" }), ("a", new[] { 1L, 2 }), ("b", new[] { true, false }));
        Assert.Equal(
            [
                new Example("Q: one", "1 true", "t", new RowId("t.parquet", 1)),
                new Example("Q: two", "2 false", "t", new RowId("t.parquet", 2)),
            ],
            Read(folder, """{"files": "t.parquet", "template": {"prompt": "Q: {q}", "answer": "{a} {b}"}}"""));
    }

    [Theory]
    [InlineData("t.csv", "q,a\n007,\"x, \"\"y\"\"\"\n2020-01-01T00:00:00Z,1.50\n")]
    [InlineData("t.csv", "q,a\r\n007,\"x, \"\"y\"\"\"\r\n2020-01-01T00:00:00Z,1.50\r\n")]
    [InlineData("t.csv", "\uFEFFq,a\n\"007\",\"x, \"\"y\"\"\"\n\n2020-01-01T00:00:00Z,1.50")]
    [InlineData("t.tsv", "q\ta\n007\tx, \"y\"\n2020-01-01T00:00:00Z\t1.50\n")]
    [InlineData("t.jsonl", "{\"q\":\"007\",\"a\":\"x, \\\"y\\\"\"}\n{\"q\":\"2020-01-01T00:00:00Z\",\"a\":\"1.50\"}\n")]
    [InlineData("t.json", "[{\"q\":\"007\",\"a\":\"x, \\\"y\\\"\"},\n{\"q\":\"2020-01-01T00:00:00Z\",\"a\":\"1.50\"}]")]
    public void Text_stays_as_it_stands_in_the_file(string name, string text)
    {
        using var folder = new TempFolder();
        folder.Write(name, text);
        Assert.Equal(
            [("Q: 007", "x, \"y\""), ("Q: 2020-01-01T00:00:00Z", "1.50")],
            Read(
                folder,
                $$"""{"files": "{{name}}", {{Template}}}""").Select(example => (example.Prompt, example.Answer)));
    }

    [Fact]
    public void A_file_of_another_ending_is_read_by_its_given_format()
    {
        using var folder = new TempFolder();
        folder.Write("t.txt", "q,a\nx,y\n");
        Assert.Single(Read(folder, $$"""{"files": "t.txt", "format": "csv", {{Template}}}"""));
    }

    [Theory]
    [InlineData("t.csv")]
    [InlineData("t.jsonl")]
    [InlineData("t.parquet")]
    public void A_filter_compares_numbers_as_numbers_and_rows_keep_their_numbers(string name)
    {
        using var folder = new TempFolder();
        var rows = Enumerable.Range(0, 30000).ToArray();
        if (name == "t.parquet")
            folder.WriteParquet(
                name, ("q", rows), ("a", rows.Select(row => $"a{row}").ToArray()),
                ("half", rows.Select(row => row / 2.0).ToArray()));
        else if (name == "t.csv")
            folder.Write(
                name,
                "q,a,half\n" + string.Concat(
                    rows.Select(row => FormattableString.Invariant($"{row},a{row},{row / 2.0}\n"))));
        else
            folder.Write(
                name,
                string.Concat(
                    rows.Select(
                        row =>
                            FormattableString.Invariant(
                                $"{{\"q\": {row}, \"a\": \"a{row}\", \"half\": {row / 2.0}}}\n"))));
        var half = name == "t.csv" ? "(half | string.to_float)" : "half";
        var reader = Given.Reader(
            folder, $$"""{"files": "{{name}}", "filter": "{{half}} > 999.75 && {{half}} < 1001", {{Template}}}""");
        Assert.Equal(
            [("Q: 2000", 2001L), ("Q: 2001", 2002)],
            reader.Read().Select(example => (example.Prompt, example.Row.Row)));
        Assert.Equal((30000L, 29998L, 0L), (reader.Counts.Rows, reader.Counts.Filtered, reader.Counts.Bad));
    }

    [Fact]
    public void Computed_columns_serve_template_and_filter()
    {
        using var folder = new TempFolder();
        folder.Write("t.jsonl", """
            {"q": "x", "choices": ["no", "yes"], "label": 1}
            {"q": "y", "choices": ["no", "yes"], "label": 0}
            """);
        var examples = Read(folder, """
            {"files": "t.jsonl",
             "columns": {"answer": "choices[label]", "q": "q | string.upcase", "both": "answer + q"},
             "filter": "answer != 'no' && both == 'yesX'",
             "template": {"prompt": "{q}", "answer": "{answer} {label}"}}
            """);
        Assert.Equal([("X", "yes 1")], examples.Select(example => (example.Prompt, example.Answer)));
    }

    [Fact]
    public void A_task_column_names_each_rows_task()
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "q,a,kind\nx,y,k1\nx,y,k2\n");
        Assert.Equal(
            ["k1", "k2"],
            Read(folder, $$"""{"files": "t.csv", "task_column": "kind", {{Template}}}""").Select(e => e.Task));
        Assert.Equal(
            ["z", "z"], Read(folder, $$"""{"files": "t.csv", "task": "z", {{Template}}}""").Select(e => e.Task));
    }

    [Fact]
    public void A_limit_counts_kept_rows_over_all_files()
    {
        using var folder = new TempFolder();
        folder.Write("a.csv", "q,a\n1,x\n2,x\n");
        folder.Write("b.csv", "q,a\n3,x\n4,x\n");
        var rows = Read(folder, $$"""{"files": "*.csv", "limit": 2, "filter": "q != '1'", {{Template}}}""");
        Assert.Equal([new RowId("a.csv", 2), new RowId("b.csv", 1)], rows.Select(row => row.Row));
    }

    [Fact]
    public void A_missing_column_is_one_fault_with_file_columns_and_nearest_name()
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "question,answer\n1,2\n");
        var error = Assert.Throws<FaultsException>(() => Given.Reader(
            folder, """{"files": "t.csv", "template": {"prompt": "{qestion} {qestion}", "answer": "{answer}"}}"""));
        Assert.Equal(
            new Fault(
                "recipe.json:1: data.train[0].template.prompt", "no column 'qestion' in t.csv",
                "one of its columns: question, answer", "did you mean question?"),
            Assert.Single(error.Items));
    }

    [Theory]
    [InlineData("t.csv", "q;a\n1;2\n", "its columns are separated by ;: write the file with commas")]
    [InlineData("t.csv", "q\ta\n1\t2\n", "its columns are separated by tabs: set `format: tsv`")]
    [InlineData("t.tsv", "q,a\n1,2\n", "its columns are separated by commas: set `format: csv`")]
    public void Another_separator_is_named(string name, string text, string advice)
    {
        using var folder = new TempFolder();
        folder.Write(name, text);
        var error = Assert.Throws<FaultsException>(
            () => Given.Reader(folder, $$"""{"files": "{{name}}", {{Template}}}"""));
        Assert.All(error.Items, fault => Assert.Equal(advice, fault.Advice));
    }

    [Fact]
    public void Case_counts_in_column_names()
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "Q,a\n1,2\n");
        var error = Assert.Throws<FaultsException>(
            () => Given.Reader(folder, $$"""{"files": "t.csv", {{Template}}}"""));
        Assert.Equal("did you mean Q?", Assert.Single(error.Items).Advice);
    }

    [Theory]
    [InlineData("t.parquet", "column 'a' is null")]
    [InlineData("t.jsonl", "column 'a' is null or missing")]
    [InlineData("t.csv", "column 'a' is empty")]
    public void A_row_without_a_value_is_told_with_file_row_and_column(string name, string found)
    {
        using var folder = new TempFolder();
        var answers = Enumerable.Range(0, 5000).Select(row => row == 3000 ? null : "y").ToArray();
        if (name == "t.parquet")
            folder.WriteParquet(name, 1700, ("q", Enumerable.Repeat("x", 5000).ToArray()), ("a", answers));
        else if (name == "t.csv")
            folder.Write(name, "q,a\n" + string.Concat(answers.Select(answer => $"x,{answer}\n")));
        else
            folder.Write(
                name,
                string.Concat(
                    answers.Select(answer => answer is null ? "{\"q\":\"x\"}\n" : "{\"q\":\"x\",\"a\":\"y\"}\n")));
        var set = $$"""{"files": "{{name}}", {{Template}}}""";
        var error = Assert.Throws<DataRowException>(() => Read(folder, set));
        Assert.Equal(
            name + (name == "t.parquet" ? ", row 3001" : name == "t.csv" ? ":3002" : ":3001")
            + $": {found}; expected a value."
            + " Correct the row, leave it out with `filter:`, or set `on_bad_row: skip`.",
            error.Message);
        if (name == "t.jsonl")
        {
            folder.Write("several.jsonl", File.ReadAllText(folder[name]) + "{\"q\":\"x\"}\n{broken\n");
            Assert.EndsWith(
                " or set `on_bad_row: skip`. 2 more rows of the file cannot be used either.",
                Assert.Throws<DataRowException>(
                    () => Read(folder, set.Replace(name, "several.jsonl", StringComparison.Ordinal))).Message,
                StringComparison.Ordinal);
        }

        var reader = Given.Reader(folder, set.Replace("\"template\"", "\"on_bad_row\": \"skip\", \"template\""));
        Assert.Equal(4999, reader.Read().Count());
        Assert.Equal(1, reader.Counts.Bad);
    }

    [Fact]
    public void An_empty_answer_is_a_bad_row()
    {
        using var folder = new TempFolder();
        folder.Write("t.jsonl", """{"q": "x", "a": ""}""");
        var error = Assert.Throws<DataRowException>(() => Read(folder, $$"""{"files": "t.jsonl", {{Template}}}"""));
        Assert.StartsWith(
            "t.jsonl:1: the answer '{a}' is empty; expected a text to learn. Correct the row", error.Message);
    }

    [Theory]
    [InlineData("{\"q\": \"x\", \"a\": \"\u00ff\"}", "the line is not UTF-8")]
    [InlineData("{\"q\": \"x\", ", "the line is not a JSON object: ")]
    [InlineData("{\"q\": \"x\", \"a\": \"y\"} {}", "the line is not a JSON object: ")]
    [InlineData("{\"q\": \"\\ud800\", \"a\": \"y\"}", "the line holds half a character")]
    [InlineData("17", "the line is a number, not a JSON object")]
    public void A_line_that_is_no_json_object_is_told_by_its_number_even_under_a_filter(string line, string found)
    {
        using var folder = new TempFolder();
        var good = "{\"q\": \"x\", \"a\": \"y\"}\n"u8.ToArray();
        folder.WriteBytes(
            "t.jsonl", good, "\n"u8.ToArray(), good, System.Text.Encoding.Latin1.GetBytes(line + "\r\n"), good);
        foreach (var filter in new[] { "", "\"filter\": \"q == 'x'\", " })
        {
            var set = $$"""{"files": "t.jsonl", {{filter}}{{Template}}}""";
            var error = Assert.Throws<DataRowException>(() => Read(folder, set));
            Assert.StartsWith("t.jsonl:4: " + found, error.Message);
            Assert.Contains("; expected one JSON object a line, in UTF-8. Correct the row", error.Message);
            var reader = Given.Reader(folder, set.Replace("\"files\"", "\"on_bad_row\": \"skip\", \"files\""));
            Assert.Equal([1L, 2, 4], reader.Read().Select(example => example.Row.Row));
            Assert.Equal((4L, 1L), (reader.Counts.Rows, reader.Counts.Bad));
        }
    }

    // The columns of a line that breaks off are not those of the file.
    [Theory]
    [InlineData("{\"q\": NaN, \"a\": \"y\"}")]
    [InlineData("{\"q\": \"x\" \"a\": \"y\"}")]
    [InlineData("{\"q\": \"x\", \"a\": \"\\ud800\"}")]
    public void A_file_whose_only_line_is_broken_is_not_said_to_lack_a_column(string line)
    {
        using var folder = new TempFolder();
        folder.WriteBytes("t.jsonl", System.Text.Encoding.UTF8.GetBytes(line));

        var error = Assert.ThrowsAny<Exception>(() => Read(folder, $$"""{"files": "t.jsonl", {{Template}}}"""));

        Assert.Contains("t.jsonl:1", error.Message);
        Assert.DoesNotContain("no column", error.Message);
    }

    [Theory]
    [InlineData("3,b,c\n", "the line has 3 fields, the header line 2;")]
    [InlineData("3\n", "the line has 1 field, the header line 2;")]
    [InlineData("3,\u00ff\n", "column 'a' is not UTF-8")]
    public void A_bad_line_of_csv_is_told_by_its_number(string line, string reason)
    {
        using var folder = new TempFolder();
        folder.WriteBytes(
            "t.csv", "q,a\n1,x\n\"2\n\",x\n"u8.ToArray(), System.Text.Encoding.Latin1.GetBytes(line),
            "4,x\n"u8.ToArray());
        var set = $$"""{"files": "t.csv", {{Template}}}""";
        Assert.StartsWith("t.csv:5: " + reason, Assert.Throws<DataRowException>(() => Read(folder, set)).Message);
        var reader = Given.Reader(folder, set.Replace("\"files\"", "\"on_bad_row\": \"skip\", \"files\""));
        Assert.Equal([1L, 2, 4], reader.Read().Select(example => example.Row.Row));
        Assert.Equal((4L, 1L), (reader.Counts.Rows, reader.Counts.Bad));
    }

    [Theory]
    [InlineData("q,a\n1,x\n2,\"x\n3,x\n", "t.csv:3: a quote that begins here is not closed")]
    [InlineData("q,a\n1,5\" disk\n2,x\n3,6\" disk\n", "t.csv:2: field 2 has a quote inside that is not doubled")]
    [InlineData("q,a\n1,x \"y\"\n", "t.csv:2: field 2 has a quote inside that is not doubled")]
    public void A_quote_in_the_wrong_place_is_told_by_its_line_even_where_bad_rows_are_skipped(
        string text, string found)
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", text);
        foreach (var policy in new[] { "error", "skip" })
        {
            var error = Assert.Throws<DataFileException>(
                () => Read(folder, $$"""{"files": "t.csv", "on_bad_row": "{{policy}}", {{Template}}}"""));
            Assert.StartsWith(found, error.Message);
        }
    }

    [Fact]
    public void A_quote_is_a_character_of_tsv()
    {
        using var folder = new TempFolder();
        folder.Write("t.tsv", "q\ta\n\"We\t1\nNobody.\"\t2\r\n\"x\"\t\"\"3\n");
        Assert.Equal(
            [("Q: \"We", "1"), ("Q: Nobody.\"", "2"), ("Q: \"x\"", "\"\"3")],
            Read(folder, $$"""{"files": "t.tsv", {{Template}}}""").Select(example => (example.Prompt, example.Answer)));
    }

    [Fact]
    public void Plain_text_is_a_row_a_line()
    {
        using var folder = new TempFolder();
        folder.WriteBytes("t.txt", "one\r\n  two \n"u8.ToArray(), [0xFF, (byte)'\n'], "four"u8.ToArray());
        var reader = Given.Reader(
            folder, """{"files": "t.txt", "on_bad_row": "skip", "template": {"text": "{text}"}}""");
        Assert.Equal(
            [("one", "t.txt:1"), ("  two ", "t.txt:2"), ("four", "t.txt:4")],
            reader.Read().Select(row => (row.Answer, row.Row.ToString())));
        var error = Assert.Throws<DataRowException>(
            () => Read(folder, """{"files": "t.txt", "template": {"text": "{text}"}}"""));
        Assert.StartsWith("t.txt:3: column 'text' is not UTF-8", error.Message);
    }

    [Fact]
    public void Bytes_and_texts_of_parquet_that_are_not_utf8_are_told_by_row()
    {
        using var folder = new TempFolder();
        folder.WriteParquet("b.parquet", ("q", new[] { "x", "x" }), ("a", new byte[]?[] { [0x41], [0xC3] }));
        folder.WriteParquet(
            "t.parquet", Parquet.CompressionMethod.None, ("q", new[] { "x", "x" }),
            ("a", new[] { "fine \uFFFD", "cafX" }));
        var bytes = File.ReadAllBytes(folder["t.parquet"]);
        for (var at = bytes.AsSpan().IndexOf("cafX"u8); at >= 0; at = bytes.AsSpan().IndexOf("cafX"u8))
            bytes[at + 3] = 0xE9;
        File.WriteAllBytes(folder["t.parquet"], bytes);
        foreach (var name in new[] { "b.parquet", "t.parquet" })
        {
            var error = Assert.Throws<DataRowException>(
                () => Read(folder, $$"""{"files": "{{name}}", {{Template}}}"""));
            Assert.StartsWith($"{name}, row 2: column 'a' is not UTF-8", error.Message);
        }
    }

    [Fact]
    public void A_text_of_a_json_list_that_is_not_utf8_is_told_by_its_line()
    {
        using var folder = new TempFolder();
        File.WriteAllBytes(
            folder["t.json"],
            System.Text.Encoding.Latin1.GetBytes(
                "[{\"q\": \"x\", \"a\": \"y\"},\n{\"q\": \"\u00ff\", \"a\": \"y\"}]\n"));
        var error = Assert.Throws<DataRowException>(() => Read(folder, $$"""{"files": "t.json", {{Template}}}"""));
        Assert.StartsWith("t.json:2: the list's element is not UTF-8", error.Message);
    }

    [Theory]
    [InlineData("\"filter\": \"nothing > 1\"", "recipe.json:1: data.train[0].filter", "no column 'nothing' in t.csv")]
    [InlineData("\"filter\": \"q | nothing\"", "recipe.json:1: data.train[0].filter", "no column 'nothing' in t.csv")]
    [InlineData(
        "\"columns\": {\"x\": \"nothing + 1\"}", "recipe.json:1: data.train[0].columns.x",
        "no column 'nothing' in t.csv")]
    [InlineData(
        "\"columns\": {\"x\": \"y\", \"y\": \"q\"}", "recipe.json:1: data.train[0].columns.x",
        "no column 'y' in t.csv")]
    [InlineData("\"task_column\": \"b\"", "data.train[0].task_column", "no column 'b' in t.csv")]
    public void A_name_that_is_not_there_is_a_fault_of_its_key(string key, string place, string found)
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "q,a\n1,2\n");
        var error = Assert.Throws<FaultsException>(
            () => Given.Reader(folder, $$"""{"files": "t.csv", {{key}}, {{Template}}}"""));
        var fault = Assert.Single(error.Items);
        Assert.Equal((place, found), (fault.Place, fault.Found));
        Assert.StartsWith("one of its columns: q, a", fault.Expected);
    }

    [Theory]
    [InlineData(
        "\"filter\": \"q > 1\"",
        "recipe.json:1: data.train[0].filter: 'q > 1' compares a text with a number (at t.csv:2); expected two"
            + " values of one type. Write q | string.to_int")]
    [InlineData(
        "\"filter\": \"q\"",
        "recipe.json:1: data.train[0].filter: 'q' gives '1' (at t.csv:2); expected true or false. Compare: ")]
    [InlineData(
        "\"filter\": \"null\"",
        "recipe.json:1: data.train[0].filter: 'null' gives nothing (at t.csv:2); expected true or false. Compare: ")]
    [InlineData(
        "\"columns\": {\"x\": \"q | extract '(x+x+)+y'\", \"z\": \"[1, 2][3]\"}",
        "recipe.json:1: data.train[0].columns.z: ")]
    public void An_expression_that_fails_at_a_row_is_told_with_both_places(string key, string message)
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "q,a\n1,2\n");
        var error = Assert.Throws<DataRowException>(
            () => Read(folder, $$"""{"files": "t.csv", {{key}}, "on_bad_row": "skip", {{Template}}}"""));
        Assert.StartsWith(message, error.Message);
    }

    [Fact]
    public void A_file_that_is_not_what_its_name_says_is_a_fault()
    {
        using var folder = new TempFolder();
        folder.Write("t.parquet", "no parquet at all");
        var error = Assert.Throws<FaultsException>(
            () => Given.Reader(folder, $$"""{"files": "t.parquet", {{Template}}}"""));
        Assert.Equal(
            ("t.parquet", "does not begin with PAR1", "a Parquet file with its text columns in UTF-8"),
            (Assert.Single(error.Items).Place, error.Items[0].Found, error.Items[0].Expected));
    }

    private static List<Example> Read(TempFolder folder, string set) => [.. Given.Reader(folder, set).Read()];
}
