using System.Diagnostics;
using System.Text.Encodings.Web;
using System.Text.Json;
using Peft.Formats;
using Peft.Prepare.Cache;
using Peft.Prepare.DataSets;

namespace Peft.Prepare;

/// <summary>
/// Turns public corpora into the data sets that the recipes train on; <c>data/README.md</c> describes them.
/// </summary>
internal static class Program
{
    private const int UserMistake = 2;

    // The texts are read by our own tokenizer trainer: only what JSON asks for is escaped.
    private static readonly JsonSerializerOptions TextLine =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The program: 0 when all is done, 2 for a mistake of the user.</summary>
    public static int Main(string[] args)
    {
        using var output = new StreamWriter(Console.OpenStandardOutput());
        return Run(args, Places.FromEnvironment, output, Console.Error);
    }

    /// <summary>The same with every place and stream given.</summary>
    internal static int Run(IReadOnlyList<string> args, Func<Places> places, TextWriter output, TextWriter messages)
    {
        try
        {
            Run(CommandLine.Parse(args), places, output, messages);
            return 0;
        }
        catch (UserException error)
        {
            messages.WriteLine(error.Message);
            return UserMistake;
        }
    }

    private static void Run(CommandLine command, Func<Places> findPlaces, TextWriter output, TextWriter messages)
    {
        if (command.Task == ProgramTask.Help)
        {
            output.WriteLine(CommandLine.Usage);
            return;
        }

        var places = findPlaces();
        var cache = new DataCache(places.Cache);
        if (command.Task == ProgramTask.Check)
            PrintHashes(cache, command.Sets, output);
        else if (command.Task == ProgramTask.Texts)
            PrintTexts(cache, output);
        else
            Write(command, new(places.Npm, places.Debian), cache, messages);
    }

    private static void Write(CommandLine command, InstalledPackages packages, DataCache cache, TextWriter messages)
    {
        var faults = new Faults();
        packages.Check(command.Sets.SelectMany(set => set.Packages), faults);
        faults.ThrowIfAny("the installation");
        using var held = cache.Lock();
        foreach (var set in command.Sets.Where(set => command.IsForced || !cache.IsCurrent(set, packages)))
        {
            var watch = Stopwatch.StartNew();
            var rows = set.Build(packages);
            cache.Write(set, packages, rows);
            var counts = string.Join(", ", set.Split.Names.Select(split => $"{split} {rows[split].Count}"));
            var columns = string.Join(", ", set.Columns);
            messages.WriteLine($"{set.Name}: {counts} rows ({columns}), {watch.Elapsed.TotalSeconds:f1} s");
        }
    }

    private static void PrintHashes(DataCache cache, IEnumerable<DataSet> sets, TextWriter output)
    {
        foreach (var set in sets)
        {
            foreach (var split in set.Split.Names)
            {
                var (columns, rows) = ParquetRows.Read(cache.PathOf(set, split)).GetAwaiter().GetResult();
                output.WriteLine($"{ParquetRows.Hash(columns, rows)} {rows.Count,7} {set.Name}/{split}");
            }
        }
    }

    private static void PrintTexts(DataCache cache, TextWriter output)
    {
        var (_, rows) = ParquetRows.Read(cache.PathOf(Catalog.Corpus, Split.Train)).GetAwaiter().GetResult();
        foreach (var text in rows.Where(row => row[0] != CorpusPassages.LooseSentences).Select(row => row[1]))
            output.Write(JsonSerializer.Serialize(text, TextLine) + "\n");
    }
}
