using System.Diagnostics;
using System.Globalization;
using Parquet;
using Parquet.Schema;
using Peft.Data;
using Peft.Data.Examples;
using Peft.Formats;
using Peft.Formats.Tokenizers;

namespace Peft.Benchmarks;

/// <summary>
/// Time to the first training batch and resident memory against the number of rows: streaming beside tokenising
/// everything first. Each number is of a process of its own, which has compiled and read the same code on another file
/// before, so that neither compiling nor memory of an earlier run is counted. Files are in the page cache.
/// </summary>
internal static class DataBenchmark
{
    /// <summary>First word of the command line of such a process.</summary>
    public const string Once = "data-once";

    private const string Streaming = "streaming";
    private const string Whole = "whole";
    private const string WarmUp = "warm-up.parquet";
    private const int BatchSize = 16;
    private const int Batches = 1000; // 16,000 rows: more than one block
    private const int RoundsBelowAMillion = 3;
    private const double Mega = 1048576;
    private static readonly int[] Sizes = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        if (TokenizerBenchmark.Repository() is null)
        {
            Console.Error.WriteLine("data: left out - started outside the checkout, so there is no tokenizer");
            yield break;
        }
        var folder = Directory.CreateTempSubdirectory("peft-bench-").FullName;
        try
        {
            Write(Path.Combine(folder, WarmUp), Sizes[0]);
            foreach (var rows in Sizes.Where(size => size <= options.Rows))
            {
                var file = Path.Combine(folder, "rows.parquet");
                Write(file, rows);
                var rounds = rows < 1_000_000 ? Math.Min(options.Rounds, RoundsBelowAMillion) : 1;
                var runs = Enumerable.Range(0, rounds)
                    .Select(_ => (Streamed: Start(file, Streaming), Whole: Start(file, Whole))).ToList();
                var whole = Measurement.Of("", "", runs.Select(run => run.Whole.Seconds), "");
                var wholeMemory = Measurement.Of("", "", runs.Select(run => run.Whole.Bytes / Mega), "");
                yield return Measurement.Of(
                    FormattableString.Invariant($"data, {rows:N0} rows streamed: first batch"), "ms",
                    runs.Select(run => 1e3 * run.Streamed.Seconds),
                    FormattableString.Invariant($"{1e3 * whole.Value:F0} ms when everything is tokenised first"));
                yield return Measurement.Of(
                    FormattableString.Invariant($"  resident memory, {Batches} batches of {BatchSize}"), "MB",
                    runs.Select(run => run.Streamed.Bytes / Mega),
                    FormattableString.Invariant($"{wholeMemory.Value:F1} MB when everything is tokenised first"));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>What such a process does: prints seconds to the first batch, and peak memory above the start in
    /// bytes.</summary>
    public static int RunOnce(string file, string way)
    {
        var directory = Path.Combine(TokenizerBenchmark.Repository()!, "data", "base");
        var tokenizer = HuggingFaceTokenizer.Load(directory);
        Run(tokenizer, Path.Combine(Path.GetDirectoryName(file)!, WarmUp), way, Stopwatch.StartNew(), batches: 100);
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        MemoryBenchmark.ResetPeak();
        var before = MemoryBenchmark.StatusBytes("VmRSS:");
        var seconds = Run(tokenizer, file, way, Stopwatch.StartNew(), Batches);
        var bytes = MemoryBenchmark.StatusBytes("VmHWM:") - before;
        Console.WriteLine(FormattableString.Invariant($"{seconds:R} {bytes}"));
        return 0;
    }

    private static double Run(HuggingFaceTokenizer tokenizer, string file, string way, Stopwatch clock, int batches)
    {
        var options = new DataOptions
        {
            Train = [new DataSetOptions
            {
                Name = "rows", Files = [file], Prompt = TextTemplate.Parse("meaning: {definition} ="),
                    Answer = TextTemplate.Parse(" {pos}"),
            }],
            MaxLength = 128,
            Streaming = way == Streaming,
        };
        using var data = TrainingData.Open(options, TextEncoder.Of(tokenizer, [0]), Path.GetDirectoryName(file)!);
        var stream = data.Batches(BatchSize, seed: 42);
        stream.Next();
        var seconds = clock.Elapsed.TotalSeconds;
        for (var batch = 1; batch < batches; batch++)
            stream.Next();
        return seconds;
    }

    private static (double Seconds, double Bytes) Start(string file, string way)
    {
        var numbers = Numbers(Once, file, way);
        return (numbers[0], numbers[1]);
    }

    /// <summary>The numbers that this program prints when it is started anew with some words.</summary>
    public static double[] Numbers(params string[] words) => Numbers([], words);

    /// <summary>The same where another program starts it.</summary>
    /// <param name="starter">That program and its words; none where it is started itself.</param>
    /// <param name="words">The words.</param>
    public static double[] Numbers(IReadOnlyList<string> starter, IReadOnlyList<string> words)
    {
        // `dotnet run` starts the program itself, `dotnet FILE.dll` does not.
        var program = Environment.ProcessPath!;
        string[] all =
        [
            .. starter, program,
            .. Path.GetFileNameWithoutExtension(program) == "dotnet" ? [typeof(DataBenchmark).Assembly.Location]
                : Array.Empty<string>(),
            .. words,
        ];
        var start = new ProcessStartInfo(all[0], all[1..]) { RedirectStandardOutput = true };
        start.Environment["TERM"] = "dumb"; // Open MPI's ranks write to a terminal of its own
        // Open MPI refuses root without.
        foreach (var name in (string[])["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"])
            start.Environment[name] = "1";
        using var process = Process.Start(start)!;
        var printed = process.StandardOutput.ReadToEnd().Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        process.WaitForExit();
        return process.ExitCode == 0 ? [.. printed.Select(number => double.Parse(number, CultureInfo.InvariantCulture))]
            : throw new UserException(
                $"{string.Join(' ', words)}: the process ended with {process.ExitCode} - see above");
    }

    /// <summary>Definitions of eight words and a part of speech, like those of the default recipe.</summary>
    internal static void Write(string file, int rows) => WriteAsync(file, rows).GetAwaiter().GetResult();

    private static async Task WriteAsync(string file, int rows)
    {
        const int GroupRows = 122_880; // of many writers
        string[] words = [
            .. ("a small part of the body that moves in water with great force or is used for making something by an "
                + "animal plant person who "
            + "lives near old city without any reason").Split(' ')];
        string[] parts = ["noun", "verb", "adjective", "adverb"];
        var (definition, pos) = (new DataField<string>("definition"), new DataField<string>("pos"));
        var random = new Random(1);
        await using var stream = File.Create(file);
        await using var writer = await ParquetWriter.CreateAsync(new ParquetSchema(definition, pos), stream);
        for (var from = 0; from < rows; from += GroupRows)
        {
            var count = Math.Min(GroupRows, rows - from);
            using var group = writer.CreateRowGroup();
            await group.WriteAsync(definition, (IReadOnlyCollection<string>)[.. Enumerable.Range(0, count)
                .Select(_ => string.Join(' ', random.GetItems(words, 8)))]);
            await group.WriteAsync(
                pos, (IReadOnlyCollection<string>)[.. Enumerable.Range(from, count)
                .Select(row => parts[row % parts.Length])]);
            group.CompleteValidate();
        }
    }
}
