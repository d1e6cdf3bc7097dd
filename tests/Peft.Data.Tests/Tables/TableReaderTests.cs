using Peft.Data.Tables;
using Scriban.Runtime;

namespace Peft.Data.Tests.Tables;

public sealed class TableReaderTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Values_of_json_print_as_they_are_written()
    {
        _folder.Write(
            "t.jsonl",
            """{"a": 1.10, "b": 007e0, "x": 1}""".Replace("007e0", "-1.5E+3") + "\n"
                + """{"b": true, "a": [1, {"c": null}], "a": 12345678901234567890123}""");
        Assert.Equal(["1.10 -1.5E+3", "12345678901234567890123 True"], Rows("t.jsonl", "a", "b"));
    }

    [Fact]
    public void A_json_list_is_read_element_by_element_with_the_line_of_each()
    {
        _folder.Write(
            "t.json",
            "\uFEFF\n[ {\"a\": 1},\n\n  {\"a\": {\"b\": [2]}}, [], 3,\n{\"a\": \"" + new string('x', 200_000)
                + "\"}]\n");
        using var rows = DataTable.Open(File("t.json"), []).Read(["a"]);
        var lines = new List<(long?, string?)>();
        while (rows.Read())
            lines.Add((rows.Line, rows.Broken));
        Assert.Equal(
            [
                (2, null), (4, null), (4, "the list's element is a list, not a JSON object"),
                (4, "the list's element is a number, not a JSON object"), (5, null),
            ],
            lines);
    }

    [Theory]
    [InlineData("[{\"a\": 1},\n{\"a\": 2},\n{\"a\": }]", "t.json:3: not JSON: ")]
    [InlineData("[{\"a\": 1},\n{\"a\": 2}\n", "t.json:3: not JSON: ")]
    [InlineData("{\"a\": 1}\n{\"a\": 2\n", "t.json:3: not JSON: ")]
    public void A_json_list_that_breaks_off_is_told_by_line(string text, string message)
    {
        _folder.Write("t.json", text);
        Assert.StartsWith(message, Assert.Throws<DataFileException>(() => Rows("t.json", "a")).Message);
    }

    [Theory]
    [InlineData("{\"a\": NaN}", "NaN, for which JSON writes null")]
    [InlineData("{'a': 1}", "a single quote, for which JSON writes \"")]
    [InlineData("{\"a\": None}", "None, for which JSON writes null")]
    [InlineData("{\"a\": 1,}", "a comma before the closing bracket")]
    [InlineData("{\"a\": 1} // one", "a comment, which JSON does not have: remove it")]
    public void What_other_languages_write_is_told_with_what_JSON_writes(string json, string words)
    {
        _folder.Write("t.jsonl", "{\"a\": 1}\n" + json + "\n");
        using var rows = DataTable.Open(File("t.jsonl"), []).Read(["a"]);
        Assert.True(rows.Read());
        Assert.True(rows.Read());
        Assert.Equal("the line is not a JSON object: " + words, rows.Broken);
        _folder.Write("t.json", "[{\"a\": 1},\n" + json + "]");
        Assert.StartsWith(
            "t.json:2: not JSON: " + words, Assert.Throws<DataFileException>(() => Rows("t.json", "a")).Message);
    }

    [Theory]
    [InlineData("t.jsonl.gz", "{\"a\": \"x\"}\n{\"a\": \"y\"}\n")]
    [InlineData("t.json.gz", "[{\"a\": \"x\"}, {\"a\": \"y\"}]")]
    [InlineData("t.csv.zst", "a\nx\ny\n")]
    [InlineData("t.tsv.gz", "a\nx\ny\n")]
    public void Packed_files_are_unpacked_and_told_where_they_end_early(string name, string text)
    {
        Pack(name, text);
        Assert.Equal(["x", "y"], Rows(name, "a"));
        var bytes = System.IO.File.ReadAllBytes(_folder[name]);
        System.IO.File.WriteAllBytes(_folder[name], bytes[..12]);
        Assert.Contains("damaged or cut short", Assert.Throws<DataFileException>(() => Rows(name, "a")).Message);
    }

    [Fact]
    public void Gzip_files_joined_together_are_one_file_and_a_cut_in_the_last_of_them_is_told()
    {
        Pack("a.jsonl.gz", "{\"a\": \"x\"}\n");
        Pack("b.jsonl.gz", "{\"a\": \"y\"}\n{\"a\": \"z\"}\n");
        byte[] first = System.IO.File.ReadAllBytes(_folder["a.jsonl.gz"]),
        second = System.IO.File.ReadAllBytes(_folder["b.jsonl.gz"]);
        System.IO.File.WriteAllBytes(_folder["t.jsonl.gz"], [.. first, .. second]);
        Assert.Equal(["x", "y", "z"], Rows("t.jsonl.gz", "a"));
        for (var cut = 1; cut < second.Length - 10; cut++)
        {
            System.IO.File.WriteAllBytes(_folder["t.jsonl.gz"], [.. first, .. second[..^cut]]);
            Assert.StartsWith(
                "t.jsonl.gz: cannot be decompressed: damaged or cut short; expected",
                Assert.Throws<DataFileException>(() => Rows("t.jsonl.gz", "a")).Message);
        }
    }

    [Theory]
    [InlineData(
        new byte[] { 0x1F, 0x8B, 8, 0 },
        "t.csv: compressed by gzip; expected comma-separated values in UTF-8 with a header line"
        + " and quotes as in RFC 4180. Give it the name t.csv.gz.")]
    [InlineData(new byte[] { 0x28, 0xB5, 0x2F, 0xFD }, "t.csv: compressed by zstd; expected")]
    [InlineData(new byte[] { 0xFF, 0xFE, (byte)'a', 0 }, "t.csv: text in UTF-16; expected")]
    [InlineData(new byte[] { 0xFE, 0xFF, 0, (byte)'a' }, "t.csv: text in UTF-16; expected")]
    [InlineData(new byte[] { (byte)'P', (byte)'K', 3, 4 }, "t.csv: a ZIP archive or a spreadsheet; expected")]
    [InlineData(new byte[] { 0xE9, (byte)'\n' }, "t.csv:1: the header line is not UTF-8; expected")]
    public void Another_kind_of_file_under_the_name_of_a_text_is_named(byte[] bytes, string message)
    {
        System.IO.File.WriteAllBytes(_folder["t.csv"], bytes);
        Assert.StartsWith(message, Assert.Throws<DataFileException>(() => Rows("t.csv", "a")).Message);
    }

    [Fact]
    public void Line_ends_of_unicode_and_byte_order_marks_are_not_line_ends_or_text()
    {
        _folder.Write("t.jsonl", "\uFEFF{\"a\": \"x\u2028y\u0085z\"}\r\n{\"a\": \"w\"}");
        _folder.Write("t.txt", "\uFEFFx\u2028y\u0085z\r\nw\n");
        _folder.Write("t.csv", "\uFEFFa,b\r\n\"x\u2028y\u0085z\",1\r\n\"w\r\nv\",2\r\n");
        Assert.Equal(["x\u2028y\u0085z", "w"], Rows("t.jsonl", "a"));
        Assert.Equal(["x\u2028y\u0085z", "w"], Rows("t.txt", "text"));
        Assert.Equal(["x\u2028y\u0085z", "w\r\nv"], Rows("t.csv", "a"));
    }

    [Fact]
    public void A_line_of_thirty_million_bytes_is_a_row()
    {
        _folder.Write("t.jsonl", "{\"a\": \"" + new string('x', 30_000_000) + "\"}\n{\"a\": \"y\"}");
        Assert.Equal([30_000_000, 1], Rows("t.jsonl", "a").Select(row => row.Length));
    }

    [Fact]
    public void Parquet_values_have_the_text_that_they_are_written_with()
    {
        _folder.WriteParquet(
            "t.parquet", ("a", new[] { 5.0, 1.1, 1e300 }), ("b", new[] { true, false, true }),
            ("c", new byte[]?[] { [0x41], null, [] }));
        Assert.Equal(["5.0 True A", "1.1 False ", "1e+300 True "], Rows("t.parquet", "a", "b", "c"));
    }

    // The texts are those of Python's repr.
    [Theory]
    [InlineData(0.0, "0.0")]
    [InlineData(-0.0001, "-0.0001")]
    [InlineData(1e-5, "1e-05")]
    [InlineData(1.5e-7, "1.5e-07")]
    [InlineData(123456789012345.6, "123456789012345.6")]
    [InlineData(1e15, "1000000000000000.0")]
    [InlineData(1e16, "1e+16")]
    [InlineData(-1.25e16, "-1.25e+16")]
    [InlineData(1.2345678901234568e17, "1.2345678901234568e+17")]
    [InlineData(double.NaN, "nan")]
    [InlineData(double.NegativeInfinity, "-inf")]
    public void A_number_of_parquet_prints_as_python_prints_it(double value, string text)
    {
        _folder.WriteParquet("t.parquet", ("a", new[] { value }));
        Assert.Equal([text], Rows("t.parquet", "a"));
    }

    [Fact]
    public void Whole_numbers_of_every_size_keep_their_digits()
    {
        _folder.WriteParquet("t.parquet", ("a", new[] { long.MinValue, long.MaxValue, 9007199254740993 }));
        Assert.Equal(["-9223372036854775808", "9223372036854775807", "9007199254740993"], Rows("t.parquet", "a"));
        _folder.Write(
            "t.jsonl",
            "{\"a\": 9007199254740993}\n{\"a\": 123456789012345678901234567890}\n{\"a\": -0}\n{\"a\": 1E400}\n");
        Assert.Equal(["9007199254740993", "123456789012345678901234567890", "-0", "1E400"], Rows("t.jsonl", "a"));
    }

    [Fact]
    public void Of_a_name_twice_in_one_object_the_last_value_counts_as_in_python()
    {
        _folder.Write("t.jsonl", """{"a": 1, "a": 2}""" + "\n" + """{"a": [{"b": 1, "c": 3, "b": 2.10}]}""" + "\n");
        _folder.Write("t.json", """[{"a": 1, "a": null, "a": "x"}]""");
        Assert.Equal(["2", "b=2.10 c=3"], Rows("t.jsonl", "a"));
        Assert.Equal(["x"], Rows("t.json", "a"));
    }

    [Theory]
    [InlineData(Parquet.CompressionMethod.None)]
    [InlineData(Parquet.CompressionMethod.Snappy)]
    [InlineData(Parquet.CompressionMethod.Gzip)]
    [InlineData(Parquet.CompressionMethod.Zstd)]
    [InlineData(Parquet.CompressionMethod.Brotli)]
    [InlineData(Parquet.CompressionMethod.Lz4Raw)]
    public void Parquet_is_read_whatever_it_is_packed_with(Parquet.CompressionMethod method)
    {
        _folder.WriteParquet("t.parquet", method, ("a", new[] { "x", "y" }));
        Assert.Equal(["x", "y"], Rows("t.parquet", "a"));
    }

    [Fact]
    public void A_damaged_parquet_file_is_one_clear_message_whatever_is_wrong_with_it()
    {
        _folder.WriteParquet(
            "t.parquet", 50, ("a", Enumerable.Range(0, 200).Select(row => $"text {row}").ToArray()),
            ("b", Enumerable.Range(0, 200).ToArray()));
        var good = System.IO.File.ReadAllBytes(_folder["t.parquet"]);
        Refused(
            good[..^1],
            "t.parquet: cut short: its end is missing; expected a Parquet file with its text columns in UTF-8."
                + " Export it again with the program that wrote it.");
        Refused(
            good[..5], "t.parquet: does not begin with PAR1; expected a Parquet file with its text columns in UTF-8.");
        Refused([.. good[..^4], .. "PARE"u8], "t.parquet: an encrypted file; expected");
        var random = new Random(1);
        for (var round = 0; round < 300; round++)
        {
            var bytes = good.ToArray();
            for (var change = 0; change <= round % 4; change++)
                bytes[random.Next(4, bytes.Length - 4)] = (byte)random.Next(256);
            try
            {
                System.IO.File.WriteAllBytes(_folder["t.parquet"], bytes);
                _ = Rows("t.parquet", "a", "b");
            }
            catch (DataFileException error)
            {
                Assert.StartsWith("t.parquet: ", error.Message);
            }
        }

        void Refused(byte[] bytes, string message)
        {
            System.IO.File.WriteAllBytes(_folder["t.parquet"], bytes);
            Assert.StartsWith(message, Assert.Throws<DataFileException>(() => Rows("t.parquet", "a")).Message);
        }
    }

    private DataFile File(string name) => new(_folder[name], name, DataFormats.OfPath(name)!.Value);

    private List<string> Rows(string name, params string[] columns)
    {
        using var rows = DataTable.Open(File(name), []).Read(columns);
        var texts = new List<string>();
        while (rows.Read())
            texts.Add(rows.Broken ?? string.Join(' ', rows.Values.Select(value => Text(value))));
        return texts;
    }

    private static string Text(object? value) => value switch
    {
        ScriptArray list => string.Join(',', list.Select(Text)),
        ScriptObject made => string.Join(' ', made.Select(member => $"{member.Key}={Text(member.Value)}")),
        _ => FormattableString.Invariant($"{value}"),
    };

    private void Pack(string name, string text)
    {
        using var file = System.IO.File.Create(_folder[name]);
        using Stream packed = name.EndsWith(".gz", StringComparison.Ordinal)
            ? new System.IO.Compression.GZipStream(file, System.IO.Compression.CompressionLevel.Fastest)
            : new ZstdSharp.CompressionStream(file);
        packed.Write(System.Text.Encoding.UTF8.GetBytes(text));
    }
}
