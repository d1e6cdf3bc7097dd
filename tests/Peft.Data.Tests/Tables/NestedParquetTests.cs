using Parquet;
using Peft.Data.Examples;
using Parquet.Serialization;

namespace Peft.Data.Tests.Tables;

public sealed class NestedParquetTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Lists_objects_and_maps_reach_the_template()
    {
        await Write(
            new Row
            {
                Tags = ["a", null, "c"], Turns = [new Turn { Text = "hi", Likes = [1, 2] }, new Turn { Likes = [] }],
                Meta = new Meta { Source = "web" }, Counts = new() { ["x"] = 1, ["y"] = 2 },
            },
            new Row { Tags = [], Turns = [], Meta = null, Counts = [] },
            new Row { Tags = null, Turns = null, Meta = new Meta(), Counts = null },
            new Row
            {
                Tags = ["z"], Turns = [new Turn { Text = "yo", Likes = [3] }], Meta = new Meta { Source = "book" },
                Counts = new() { ["x"] = 9 },
            });
        const string Template = "{{ if Tags == null }}no tags{{ else }}{{ for t in Tags }}[{{ t ?? '-' }}]{{ end"
            + " }}{{ end }}"
            + "{{ for t in Turns ?? [] }}<{{ t.Text ?? 'silent' }}:{{ t.Likes | array.join '+' }}>{{ end }}"
            + " {{ if Meta }}{{ Meta.Source ?? 'unknown' }}{{ end }} {{ if Counts }}{{ for c in Counts }}{{ c.key"
                + " }}={{ c.value }};{{ end }}{{ end }}";
        Assert.Equal(
            ["[a][-][c]<hi:1+2><silent:> web x=1;y=2;", "  ", "no tags unknown ", "[z]<yo:3> book x=9;"],
            Read(
                """{"files": "t.parquet", "template": {"text": "TEXT"}}""".Replace(
                    "TEXT", Template, StringComparison.Ordinal)).Select(example => example.Answer));
    }

    [Fact]
    public async Task Dates_decimals_and_times_have_their_text_and_compare_as_it()
    {
        await Write(
            new Row
            {
                Day = new DateTime(2024, 1, 2, 3, 4, 5, DateTimeKind.Utc), Price = 1.10m,
                Id = Guid.Parse("dc96b1c6-64ef-44db-9386-da88544d3727"),
            },
            new Row { Day = new DateTime(2025, 1, 2, 3, 4, 5, 500, DateTimeKind.Utc), Price = 20m, Id = Guid.Empty });
        var all = Read("""{"files": "t.parquet", "template": {"text": "{Day}|{{ Price > 2 }}|{Id}"}}""")
            .Select(example => example.Answer).ToList();
        Assert.StartsWith("2024-01-02 03:04:05", all[0]);
        Assert.EndsWith("|false|dc96b1c6-64ef-44db-9386-da88544d3727", all[0]);
        Assert.StartsWith("2025-01-02 03:04:05.5", all[1]);
        Assert.Single(Read("""{"files": "t.parquet", "filter": "Day >= '2025'", "template": {"text": "{Day}"}}"""));
    }

    [Fact]
    public async Task A_list_is_not_printed_and_a_nested_name_that_is_not_there_is_told_at_its_row()
    {
        await Write(new Row { Tags = ["a"], Turns = [new Turn { Text = "hi" }] });
        Assert.StartsWith(
            "recipe.json:1: data.train[0].template.text: 'Tags' is a list or an object",
            Assert.Throws<DataRowException>(
                () => Read("""{"files": "t.parquet", "template": {"text": "{Tags}"}}""")).Message);
        Assert.Contains(
            "unknown member 'Txt' (at t.parquet, row 1); expected Text or Likes. Did you mean Text?",
            Assert.Throws<DataRowException>(
                () => Read("""{"files": "t.parquet", "template": {"text": "{{ Turns[0].Txt }}"}}""")).Message);
    }

    [Fact]
    public async Task A_text_within_a_list_object_or_map_that_is_not_utf8_is_told_by_its_row()
    {
        await Write(
            new Row
            {
                Tags = ["fine \uFFFD", "ok"], Meta = new Meta { Source = "ok" }, Turns = [],
                Counts = new() { ["ok"] = 1 },
            },
            new Row
            {
                Tags = ["a", "tagX"], Meta = new Meta { Source = "metX" }, Turns = [new Turn { Text = "turX" }],
                Counts = new() { ["keyX"] = 1 },
            });
        var bytes = File.ReadAllBytes(_folder["t.parquet"]);
        foreach (var word in new[] { "tagX", "metX", "turX", "keyX" })
        {
            var sought = System.Text.Encoding.ASCII.GetBytes(word);
            for (var at = 0; bytes.AsSpan(at).IndexOf(sought) is >= 0 and var found; at += found + 4)
                bytes[at + found + 3] = 0xE9;
        }

        File.WriteAllBytes(_folder["t.parquet"], bytes);
        (string, string)[] uses =
        [
            ("Tags", "Tags[0]"), ("Meta", "Meta.Source"), ("Turns", "Turns.size"),
            ("Counts", "for c in Counts; c.key; end"),
        ];
        foreach (var (column, text) in uses)
        {
            var set = """{"files": "t.parquet", "template": {"text": "{{ TEXT }}"}}""".Replace(
                "TEXT", text, StringComparison.Ordinal);
            Assert.Equal(
                $"t.parquet, row 2: column '{column}' is not UTF-8; expected a value in UTF-8. Correct the row,"
                + " leave it out with `filter:`, or set `on_bad_row: skip`.",
                Assert.Throws<DataRowException>(() => Read(set)).Message);
        }
    }

    private Task Write(params Row[] rows) => Write(_folder["t.parquet"], rows);

    private static async Task Write(string path, Row[] rows)
    {
        await using var file = File.Create(path);
        await ParquetSerializer.SerializeAsync(
            rows, file, new ParquetOptions { CompressionMethod = CompressionMethod.None });
    }

    private List<Example> Read(string set) => [.. Given.Reader(_folder, set).Read()];

    private sealed class Row
    {
        public List<string?>? Tags { get; set; }

        public List<Turn>? Turns { get; set; }

        public Meta? Meta { get; set; }

        public Dictionary<string, int>? Counts { get; set; }

        public DateTime Day { get; set; }

        public decimal Price { get; set; }

        public Guid Id { get; set; }
    }

    private sealed class Turn
    {
        public string? Text { get; set; }

        public List<int>? Likes { get; set; }
    }

    private sealed class Meta
    {
        public string? Source { get; set; }
    }
}
