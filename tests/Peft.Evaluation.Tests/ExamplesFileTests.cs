using Parquet;
using Parquet.Schema;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Reports;
using Peft.Evaluation.Results;
using Peft.Evaluation.Tasks;
using Peft.Formats;

namespace Peft.Evaluation.Tests;

public sealed class ExamplesFileTests : IDisposable
{
    /// <summary>
    /// Three rows as versions before November 2026 wrote them: snappy, a row without a score, a list with a gap.
    /// </summary>
    private const string Earlier = """
        UEFSMRUAFTYVOiwVBhUAFQYVBgAAG2gCAAAABgEDAAAAb25lAwAAAG9uZQMAAABvbmUVABUqFS4sFQYVABUGFQYAABVQAgAAAAYBAQAAAHQBAA
        AAdAEAAAB1FQAVPBUsLBUGFQAVBhUGAAAeGAIAAAAGAQANAREJHAcAAAAAAAAAFQAVQhVGLBUGFQAVBhUGAAAhgAIAAAAGAQ0AAABHcsO2w59l
        PwpzYXk6AQAAAHABAAAAcRUAFTIVNiwVBhUAFQYVBgAAGWACAAAABgEDAAAAeWVzAwAAACBubwEAAAB4FQAVMhU2LBUGFQAVBhUGAAAZYAIAAA
        AGAQMAAAB5ZXMDAAAAeWVzAQAAAHkVABVqFS4sFQYVABUGFQYAADUYIQAAAEEDAI4BACTwPwAAAAAAAAAAFQAV9AEVRiwVCBUAFQYVBgAAehgh
        AAAAQQIAdgEAAEEBJQDbdiQAmgEAJPi/AAAAAAAA0D8VAhm8NQAYDWR1Y2tkYl9zY2hlbWEVEAAVDCUCGAdzdWJqZWN0JQAAFQwlAhgEdGFzay
        UAABUEJQIYA3JvdyUkABUMJQIYBnByb21wdCUAABUMJQIYCnByZWRpY3Rpb24lAAAVDCUCGAZhbnN3ZXIlAAAVCiUCGAVzY29yZQA1AhgPbG9n
        X2xpa2VsaWhvb2RzFQIVBgA1BBgEbGlzdBUCABUKJQIYB2VsZW1lbnQAFgYZHBmMJgAcFQwZFQAZGAdzdWJqZWN0FQIWBhZYFlwmCDwYA29uZR
        gDb25lFgAoA29uZRgDb25lEREAAAAmABwVDBkVABkYBHRhc2sVAhYGFkwWUCZkPBgBdRgBdBYAKAF1GAF0EREAAAAmABwVBBkVABkYA3JvdxUC
        FgYWXhZOJrQBPBgIBwAAAAAAAAAYCAAAAAAAAAAAFgAoCAcAAAAAAAAAGAgAAAAAAAAAABERAAAAJgAcFQwZFQAZGAZwcm9tcHQVAhYGFmQWaC
        aCAjwYAXEYDUdyw7bDn2U/CnNheToWACgBcRgNR3LDtsOfZT8Kc2F5OhERAAAAJgAcFQwZFQAZGApwcmVkaWN0aW9uFQIWBhZUFlgm6gI8GAN5
        ZXMYAyBubxYAKAN5ZXMYAyBubxERAAAAJgAcFQwZFQAZGAZhbnN3ZXIVAhYGFlQWWCbCAzwYA3llcxgBeRYAKAN5ZXMYAXkREQAAACYAHBUKGR
        UAGRgFc2NvcmUVAhYGFowBFlAmmgQ8GAgAAAAAAADwPxgIAAAAAAAAAAAWAigIAAAAAAAA8D8YCAAAAAAAAAAAEREAAAAmABwVChkVABk4D2xv
        Z19saWtlbGlob29kcwRsaXN0B2VsZW1lbnQVAhYIFpgCFmom6gQ8GAgAAAAAAADQPxgIAAAAAAAA+L8WBCgIAAAAAAAA0D8YCAAAAAAAAPi/ER
        EAAAAWsgcWBiYIFswFACgoRHVja0RCIHZlcnNpb24gdjEuNS42IChidWlsZCAwNjljYzlmOWI1KRmMHAAAHAAAHAAAHAAAHAAAHAAAHAAAHAAA
        ABoDAABQQVIx
        """;

    private static readonly string[] All = ["subject", "task", "row", "prompt", "prediction", "answer", "score"];

    private readonly TempFolder _folder = new();

    private string File => _folder["examples.parquet"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Every_text_number_and_list_comes_back_as_it_was()
    {
        string[] texts = ["", " a\r\n", "\u0000 \u202E zürich \U0001F642", new('x', 100_000)];
        double[][] lists = [[], [-1.5, double.NegativeInfinity, 0], [double.NaN], [double.Epsilon, -1e300]];
        ExamplesFile.Write(File, texts.Select((text, at) => (text, Judged(at, text, text, lists[at]))));

        var rows = await ExampleRow.Of(File);

        Assert.Equal(texts, rows.Select(row => row.Subject));
        Assert.Equal(texts, rows.Select(row => row.Prompt));
        Assert.Equal(texts, rows.Select(row => row.Prediction));
        Assert.All(rows, row => Assert.Equal(("t", "yes"), (row.Task, row.Answer)));
        Assert.Equal([1L, 2, 3, 4], rows.Select(row => row.Row));
        Assert.Equal([0.0, 0, 0, 0], rows.Select(row => row.Score));
        Assert.Equal([[], [-1.5, null, 0], [null], [double.Epsilon, -1e300]], rows.Select(row => row.LogLikelihoods!));
    }

    [Fact]
    public async Task Many_rows_lie_in_groups_and_keep_their_order()
    {
        ExamplesFile.Write(
            File, Enumerable.Range(0, 20_000).Select(at => ("one", Judged(at, $"p{at}", "yes", [at, -at]))));

        var seen = new List<(long, string)>();
        ExampleTable.Read(
            File, All,
            group => seen.AddRange(
                Enumerable.Range(0, group.Count).Select(at => (group.Whole("row", at), group.Text("prompt", at)))));
        Assert.Equal(Enumerable.Range(0, 20_000).Select(at => (at + 1L, $"p{at}")), seen);
        await using var reader = await ParquetReader.CreateAsync(File);
        Assert.Equal(3, reader.RowGroupCount);
        Assert.Equal([.. All, "log_likelihoods"], reader.Schema.Fields.Select(field => field.Name));
    }

    [Fact]
    public void No_rows_are_a_table_too()
    {
        ExamplesFile.Write(File, []);
        ExampleTable.Read(File, All, group => Assert.Equal(0, group.Count));
    }

    [Fact]
    public void When_writing_fails_the_old_file_stays_and_nothing_else_is_left()
    {
        System.IO.File.WriteAllText(File, "old");

        Assert.Throws<InvalidOperationException>(() => ExamplesFile.Write(File, Failing()));

        Assert.Equal("old", System.IO.File.ReadAllText(File));
        Assert.Equal([File], Directory.GetFiles(_folder.Path));

        static IEnumerable<(string, JudgedRow)> Failing()
        {
            yield return ("one", Judged(0, "p", "yes", []));
            throw new InvalidOperationException();
        }
    }

    [Fact]
    public async Task Files_of_earlier_versions_are_read()
    {
        System.IO.File.WriteAllBytes(File, Convert.FromBase64String(Earlier));

        var lines = ExampleReader.Lines(File, new Dictionary<string, string> { ["one"] = "two" });
        Assert.Equal([new("two", "t", 1, 1, true), new("two", "t", 2, 0, false)], lines);
        ExampleTable.Read(File, All, rows =>
        {
            Assert.Equal(
                ("Größe?\nsay:", " no", "yes"), (
                    rows.Text("prompt", 0), rows.Text("prediction", 1), rows.Text("answer", 1)));
            Assert.Null(rows.Number("score", 2));
        });
        Assert.Equal([[-1.5, null], [], [0.25]], (await ExampleRow.Of(File)).Select(row => row.LogLikelihoods!));
    }

    [Fact]
    public void A_file_that_was_cut_or_whose_rows_are_damaged_is_one_clear_message_or_is_read()
    {
        ExamplesFile.Write(File, Enumerable.Range(0, 40).Select(at => ("one", Judged(at, $"p{at}", "no", [at]))));
        var whole = System.IO.File.ReadAllBytes(File);
        for (var length = 0; length < whole.Length; length += 7)
            Assert.NotNull(Refusal(whole[..length]));
        var footer = whole.Length - 8 - BitConverter.ToInt32(whole, whole.Length - 8);
        var random = new Random(1);
        var refused = 0;
        for (var i = 0; i < 500; i++)
        {
            var damaged = whole.ToArray();
            damaged[random.Next(4, footer)] = (byte)random.Next(256);
            refused += Refusal(damaged) is null ? 0 : 1;
        }
        Assert.InRange(refused, 25, 499);
    }

    [Fact]
    public async Task A_table_of_something_else_is_refused_by_its_columns()
    {
        await using (var file = System.IO.File.Create(File))
        {
            var schema = new ParquetSchema(
                new DataField<string>("subject"), new DataField<string>("task"), new DataField<int>("row"));
            await using var writer = await ParquetWriter.CreateAsync(schema, file);
        }
        Assert.Contains(
            "it has no column prompt, prediction, answer, score", Refusal(System.IO.File.ReadAllBytes(File))!,
            StringComparison.Ordinal);

        await using (var file = System.IO.File.Create(File))
        {
            var schema = new ParquetSchema(
                [.. All.Select(name => name == "row" ? new DataField<int>(name) : (Field)new DataField<string>(name))]);
            await using var writer = await ParquetWriter.CreateAsync(schema, file);
        }
        Assert.Contains(
            "its column row holds Int32, not Int64", Refusal(System.IO.File.ReadAllBytes(File))!,
            StringComparison.Ordinal);
    }

    // The message, or null where all of it could be read. Anything but a message fails the test.
    private string? Refusal(byte[] bytes)
    {
        System.IO.File.WriteAllBytes(File, bytes);
        try
        {
            ExampleTable.Read(File, All, _ => { });
            return null;
        }
        catch (UserException e)
        {
            Assert.StartsWith($"{File}: not the rows of an evaluation (", e.Message, StringComparison.Ordinal);
            Assert.EndsWith(
                "expected the examples.parquet that peft eval wrote. Run peft eval again, or move the file away.",
                e.Message, StringComparison.Ordinal);
            return e.Message;
        }
    }

    private static JudgedRow Judged(
        int index, string prompt, string prediction, IReadOnlyList<double> logLikelihoods) => new(
        new() { Name = "t", Kind = TaskKind.Generation, Sources = [], Metrics = ["exact_match"] },
        new(index, new("f", index + 1), prompt, "yes"), new(index, prediction, logLikelihoods, 0, false));
}
