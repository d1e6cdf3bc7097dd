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
        folder.Write("t.parquet", (FormattableString)$"SELECT * FROM (VALUES ('one', 1, true), ('two', 2, false)) t(q, a, b)");
        Assert.Equal(
            [new Example("Q: one", "1 true", "t", new RowId("t.parquet", 1)), new Example("Q: two", "2 false", "t", new RowId("t.parquet", 2))],
            Read(folder, """{"files": "t.parquet", "template": {"prompt": "Q: {q}", "answer": "{a} {b}"}}"""));
    }

    [Theory]
    [InlineData("t.csv", "q,a\n007,\"x, \"\"y\"\"\"\n2020-01-01T00:00:00Z,1.50\n")]
    [InlineData("t.csv", "q,a\r\n007,\"x, \"\"y\"\"\"\r\n2020-01-01T00:00:00Z,1.50\r\n")]
    [InlineData("t.tsv", "q\ta\n007\t\"x, \"\"y\"\"\"\n2020-01-01T00:00:00Z\t1.50\n")]
    [InlineData("t.jsonl", "{\"q\":\"007\",\"a\":\"x, \\\"y\\\"\"}\n{\"q\":\"2020-01-01T00:00:00Z\",\"a\":\"1.50\"}\n")]
    [InlineData("t.json", "[{\"q\":\"007\",\"a\":\"x, \\\"y\\\"\"},\n{\"q\":\"2020-01-01T00:00:00Z\",\"a\":\"1.50\"}]")]
    public void Text_stays_as_it_stands_in_the_file(string name, string text)
    {
        using var folder = new TempFolder();
        folder.Write(name, text);
        Assert.Equal(
            [("Q: 007", "x, \"y\""), ("Q: 2020-01-01T00:00:00Z", "1.50")],
            Read(folder, $$"""{"files": "{{name}}", {{Template}}}""").Select(example => (example.Prompt, example.Answer)));
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
        var format = name.EndsWith("jsonl", StringComparison.Ordinal) ? "(FORMAT json)" : "";
        using (var connection = Peft.Data.DuckDb.DuckDbConnection.OpenUnlocked())
        {
            connection.Execute($"COPY (SELECT range AS q, 'a' || range AS a, range / 2 AS half FROM range(30000)) TO '{folder[name]}' {format}");
        }

        var reader = Given.Reader(folder, $$"""{"files": "{{name}}", "filter": "half > 999.75 AND half < 1001 -- note", {{Template}}}""");
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
            {"files": "t.jsonl", "columns": {"answer": "choices[label + 1]", "q": "upper(q)"}, "filter": "answer <> 'no'",
             "template": {"prompt": "{q}", "answer": "{answer} {label}"}}
            """);
        Assert.Equal([("X", "yes 1")], examples.Select(example => (example.Prompt, example.Answer)));
    }

    [Fact]
    public void A_task_column_names_each_rows_task()
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "q,a,kind\nx,y,k1\nx,y,k2\n");
        Assert.Equal(["k1", "k2"], Read(folder, $$"""{"files": "t.csv", "task_column": "kind", {{Template}}}""").Select(e => e.Task));
        Assert.Equal(["z", "z"], Read(folder, $$"""{"files": "t.csv", "task": "z", {{Template}}}""").Select(e => e.Task));
    }

    [Fact]
    public void A_limit_counts_kept_rows_over_all_files()
    {
        using var folder = new TempFolder();
        folder.Write("a.csv", "q,a\n1,x\n2,x\n");
        folder.Write("b.csv", "q,a\n3,x\n4,x\n");
        var rows = Read(folder, $$"""{"files": "*.csv", "limit": 2, "filter": "q > 1", {{Template}}}""");
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
            new Fault("data.train[0].template.prompt", "{qestion} is no column of t.csv", "its columns: question, answer", "did you mean {question}?"),
            Assert.Single(error.Items));
    }

    [Fact]
    public void Case_counts_in_column_names()
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "Q,a\n1,2\n");
        var error = Assert.Throws<FaultsException>(() => Given.Reader(folder, $$"""{"files": "t.csv", {{Template}}}"""));
        Assert.Equal("did you mean {Q}?", Assert.Single(error.Items).Advice);
    }

    [Theory]
    [InlineData("t.jsonl")]
    [InlineData("t.parquet")]
    public void A_list_cannot_stand_in_a_template(string name)
    {
        using var folder = new TempFolder();
        folder.Write(name, (FormattableString)$"SELECT 'x' AS q, ['a', 'b'] AS a");
        var error = Assert.Throws<FaultsException>(() => Given.Reader(folder, $$"""{"files": "{{name}}", {{Template}}}"""));
        var fault = Assert.Single(error.Items);
        Assert.Equal(("data.train[0].template.answer", $"{{a}} of {name} is VARCHAR[]"), (fault.Place, fault.Found));
        Assert.Equal("make one of it, for example `columns: {a_first: \"a[1]\"}`", fault.Advice);
    }

    [Theory]
    [InlineData("t.parquet", "column 'a' is null")]
    [InlineData("t.jsonl", "column 'a' is null or missing")]
    [InlineData("t.csv", "column 'a' is empty")]
    public void A_row_without_a_value_is_told_with_file_row_and_column(string name, string found)
    {
        using var folder = new TempFolder();
        folder.Write(name, (FormattableString)$"SELECT 'x' AS q, CASE WHEN range <> 3000 THEN 'y' END AS a FROM range(5000)");
        var set = $$"""{"files": "{{name}}", {{Template}}}""";
        var error = Assert.Throws<DataRowException>(() => Read(folder, set));
        Assert.Equal(
            $"{name} row 3001 - {found} - a value in UTF-8 - correct the row, leave it out with `filter:`, or say `on_bad_row: skip`",
            error.Message);
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
        Assert.StartsWith("t.jsonl row 1 - answer '{a}' is empty - a text to learn - correct the row", error.Message);
    }

    [Theory]
    [InlineData("{\"q\": \"x\", \"a\": \"\u00ff\"}")]
    [InlineData("{\"q\": \"x\", ")]
    [InlineData("{\"q\": \"\\ud800\", \"a\": \"y\"}")]
    public void A_line_that_is_no_json_object_is_told_by_its_number_even_under_a_filter(string line)
    {
        using var folder = new TempFolder();
        var good = "{\"q\": \"x\", \"a\": \"y\"}\n"u8.ToArray();
        folder.WriteBytes("t.jsonl", good, good, System.Text.Encoding.Latin1.GetBytes(line + "\n"), good);
        foreach (var filter in new[] { "", "\"filter\": \"q = 'x'\", " })
        {
            var set = $$"""{"files": "t.jsonl", {{filter}}{{Template}}}""";
            var error = Assert.Throws<DataRowException>(() => Read(folder, set));
            Assert.StartsWith("t.jsonl row 3 - the line is no JSON object in UTF-8, or has no values - one JSON object a line", error.Message);
            var reader = Given.Reader(folder, set.Replace("\"files\"", "\"on_bad_row\": \"skip\", \"files\""));
            Assert.Equal([1L, 2, 4], reader.Read().Select(example => example.Row.Row));
            Assert.Equal((4L, 1L), (reader.Counts.Rows, reader.Counts.Bad));
        }
    }

    [Fact]
    public void Lines_that_are_json_but_no_objects_are_a_fault_of_the_file()
    {
        using var folder = new TempFolder();
        folder.Write("t.jsonl", "{\"q\": \"x\", \"a\": \"y\"}\n17\n");
        var error = Assert.Throws<FaultsException>(() => Given.Reader(folder, $$"""{"files": "t.jsonl", {{Template}}}"""));
        Assert.Contains("got non-record JSON instead  a JSON Lines file", error.Message.Replace(".", ""));
    }

    [Theory]
    [InlineData("3,b,c\n", "Expected Number of Columns: 2 Found: 3")]
    [InlineData("3,\u00ff\n", "Invalid unicode")]
    public void A_bad_line_of_csv_is_told_by_its_number(string line, string reason)
    {
        using var folder = new TempFolder();
        folder.WriteBytes("t.csv", "q,a\n1,x\n2,x\n"u8.ToArray(), System.Text.Encoding.Latin1.GetBytes(line), "4,x\n"u8.ToArray());
        var set = $$"""{"files": "t.csv", {{Template}}}""";
        var error = Assert.Throws<DataFileException>(() => Read(folder, set));
        Assert.StartsWith("t.csv - Invalid Input Error: CSV Error on Line: 4; " + reason, error.Message);
        Assert.EndsWith("comma-separated values in UTF-8 with a header line - correct the file, or say `on_bad_row: skip`", error.Message);
        var reader = Given.Reader(folder, set.Replace("\"files\"", "\"on_bad_row\": \"skip\", \"files\""));
        Assert.Equal(3, reader.Read().Count());
        Assert.Equal((4L, 1L), (reader.Counts.Rows, reader.Counts.Bad));
    }

    [Fact]
    public void Bytes_that_are_not_utf8_are_told_by_row()
    {
        using var folder = new TempFolder();
        folder.Write("t.parquet", (FormattableString)$"SELECT 'x' AS q, unnest(['\\x41'::BLOB, '\\xC3'::BLOB]) AS a");
        var set = $$"""{"files": "t.parquet", {{Template}}}""";
        var error = Assert.Throws<DataRowException>(() => Read(folder, set));
        Assert.StartsWith("t.parquet row 2 - column 'a' is not UTF-8", error.Message);
    }

    [Theory]
    [InlineData("t.jsonl", "{\"q\": \"x\", \"a\": \"y\"}\n{\"q\": \"\u00ff\", \"a\": \"y\"}\n")]
    [InlineData("t.json", "[{\"q\": \"x\", \"a\": \"y\"},\n{\"q\": \"\u00ff\", \"a\": \"y\"}]\n")]
    public void A_text_of_json_that_is_not_utf8_is_told_by_its_line(string name, string text)
    {
        using var folder = new TempFolder();
        File.WriteAllBytes(folder[name], System.Text.Encoding.Latin1.GetBytes(text));
        var error = Assert.ThrowsAny<UserException>(() => Read(folder, $$"""{"files": "{{name}}", {{Template}}}"""));
        Assert.Contains(name, error.Message);
        Assert.Contains("2", error.Message);
        Assert.DoesNotContain("Binder", error.Message);
    }

    [Fact]
    public void A_parquet_text_that_is_not_utf8_names_the_file()
    {
        using var folder = new TempFolder();
        using (var connection = Peft.Data.DuckDb.DuckDbConnection.OpenUnlocked())
            connection.Execute($"COPY (SELECT 'x' AS q, 'cafX' AS a) TO '{folder["t.parquet"]}' (COMPRESSION uncompressed)");
        var bytes = File.ReadAllBytes(folder["t.parquet"]);
        for (var at = bytes.AsSpan().IndexOf("cafX"u8); at >= 0; at = bytes.AsSpan().IndexOf("cafX"u8))
            bytes[at + 3] = 0xE9;
        File.WriteAllBytes(folder["t.parquet"], bytes);
        var error = Assert.Throws<DataFileException>(() => Read(folder, $$"""{"files": "t.parquet", {{Template}}}"""));
        Assert.Contains("t.parquet - Invalid Input Error: Invalid string encoding found", error.Message);
    }

    [Theory]
    [InlineData("\"filter\": \"nothing > 1\"", "data.train[0].filter", "Binder Error")]
    [InlineData("\"filter\": \"q >\"", "data.train[0].filter", "Parser Error")]
    [InlineData("\"filter\": \"q IN (SELECT content FROM read_text('/etc/hostname'))\"", "data.train[0].filter", "Permission Error")]
    [InlineData("\"filter\": \"true); COPY (SELECT 1\"", "data.train[0].filter", "Parser Error")]
    [InlineData("\"columns\": {\"x\": \"nothing + 1\"}", "data.train[0].columns", "Binder Error")]
    [InlineData("\"task_column\": \"b\"", "data.train[0].task_column", "{b} is no column")]
    public void Wrong_sql_is_a_fault_of_its_key(string key, string place, string found)
    {
        using var folder = new TempFolder();
        folder.Write("t.csv", "q,a\n1,2\n");
        var error = Assert.Throws<FaultsException>(() => Given.Reader(folder, $$"""{"files": "t.csv", {{key}}, {{Template}}}"""));
        var fault = Assert.Single(error.Items);
        Assert.Equal(place, fault.Place);
        Assert.Contains(found, fault.Found);
    }

    [Fact]
    public void A_file_that_is_not_what_its_name_says_is_a_fault()
    {
        using var folder = new TempFolder();
        folder.Write("t.parquet", "no parquet at all");
        var error = Assert.Throws<FaultsException>(() => Given.Reader(folder, $$"""{"files": "t.parquet", {{Template}}}"""));
        Assert.Equal(("t.parquet", "a Parquet file"), (Assert.Single(error.Items).Place, error.Items[0].Allowed));
    }

    private static List<Example> Read(TempFolder folder, string set) => [.. Given.Reader(folder, set).Read()];
}
