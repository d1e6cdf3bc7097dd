using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Peft.Evaluation.Results;
using Peft.Formats.Files;

namespace Peft.Compare;

/// <summary>
/// Behind <c>make compare</c>: arms of equally many trainable parameters on the embedded base and its tasks, over
/// seeds and rows.
/// </summary>
internal static class Program
{
    private const string Records = "recipes/results/compare";
    private const string Document = "docs/results.md";
    private const int Rows = 200, ChoosingSeed = 0;
    private const int QuickRows = 50;
    private const double QuickShare = 0.125;

    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private static readonly JsonSerializerOptions OneLine = new(Json) { WriteIndented = false };

    public static int Main(string[] args)
    {
        try
        {
            if (Asked.Parse(args) is not { } asked)
                return 2;
            TorchRuntime.Start();
            using var stop = new CancellationTokenSource();
            using var interrupt = Answer(PosixSignal.SIGINT);
            using var termination = Answer(PosixSignal.SIGTERM);
            return Run(asked, stop.Token);

            PosixSignalRegistration Answer(PosixSignal signal) => PosixSignalRegistration.Create(signal, context =>
            {
                context.Cancel = true;
                Console.Error.WriteLine("stopping; finished runs stay, the same command goes on with the others");
                stop.Cancel();
            });
        }
        catch (OperationCanceledException)
        {
            return 130;
        }
        catch (Exception error)
        {
            Console.Error.WriteLine((error as AggregateException)?.InnerException?.Message ?? error.Message);
            return 1;
        }
    }

    private static int Run(Asked asked, CancellationToken stop)
    {
        var ranks = new RankChoices();
        var share = asked.IsQuick ? QuickShare : 1;
        var rows = asked.IsQuick ? QuickRows : Rows;
        var runner = new Runner(Path.Combine(asked.Output, asked.IsQuick ? "quick" : "runs"), asked.Jobs, rows, share);
        if (asked.IsQuick)
            Console.WriteLine($"a quick look: {asked.Seeds} seeds, an eighth of the steps, {QuickRows} rows; "
                + "nothing is recorded");
        foreach (var study in asked.Studies)
        {
            if (asked.OnlyRenders && !File.Exists(Path.Combine(Records, study.Name + ".runs.json")))
            {
                Console.WriteLine($"\n{study.Name}: nothing is recorded");
                continue;
            }
            IReadOnlyList<Measured> recorded = asked.OnlyRenders || asked.Adds
                ? Read<IReadOnlyList<Measured>>(study.Name + ".runs") : [];
            if (!asked.Chooses && !asked.IsQuick && !asked.OnlyRenders)
                RequireSameBase(study);
            IReadOnlyList<Measured> runs = asked.OnlyRenders ? recorded
                : [.. recorded, .. Train(study, asked, [.. asked.SeedsBeyond(recorded)], runner, ranks, stop)];
            var findings = Finding.Of(study, study.Judged(runs));
            var seeds = runs.Select(run => run.Seed).Distinct().Count();
            var table = Tables.Of(study, findings, ranks);
            Console.WriteLine($"\n{study.Question}\n\n{table}\n");
            foreach (var arm in study.Arms.Where(arm => arm.Difference.Length > 0))
                Console.WriteLine($"{arm.Name}: {arm.Difference}");
            var place = Place(asked);
            if (!asked.OnlyRenders)
                Write(place, study.Name + ".runs", LineByLine(runs));
            foreach (var group in findings.GroupBy(finding => finding.Setting.Name))
                Keep(Path.Combine(place, $"{study.Name}-{group.Key}.json"),
                    Finding.Document(study, [.. group], seeds, Cli.Printing.HelpPage.Version));
            if (asked.Records || asked.OnlyRenders)
                Tables.Put(Document, study.Name, table);
        }
        var orderings = Ordering.Table(name => File.Exists(Path.Combine(Place(asked), name + ".runs.json"))
            ? Plan.Studies.Single(study => study.Name == name).Judged(
                Read<IReadOnlyList<Measured>>(name + ".runs", Place(asked))) : null);
        if (orderings is null)
            return 0;
        Console.WriteLine($"\nWhat papers say\n\n{orderings}");
        if (asked.Records || asked.OnlyRenders)
            Tables.Put(Document, "papers", orderings);
        return 0;
    }

    // Rows that differ are found where runs are compared.
    private static void RequireSameBase(Study study)
    {
        var files = Directory.GetFiles(Records, study.Name + "-*.json");
        if (files.FirstOrDefault(file => ResultsFile.Load(file).Base.Fingerprint != Plan.BaseFingerprint) is { } other)
            throw new InvalidOperationException(
                $"{other} is of another base, and so are its learning rates: nothing can be added to it or made again "
                    + "at them; make the study anew, with --record or --choose-rates");
    }

    private static List<Measured> Train(
        Study study, Asked asked, int[] seeds, Runner runner, RankChoices ranks, CancellationToken stop)
    {
        if (study.Merges.Count > 0)
            return Merge(study, asked, seeds, runner, stop);
        var choices = asked.Chooses
            ? Choose(study, asked, runner, ranks, stop) : Read<Dictionary<string, RateChoice>>("choices");
        TrainRun[] runs =
        [
            .. from seed in seeds
               from setting in study.Settings
               from arm in study.ArmsIn(setting)
               select new TrainRun(study.Name, setting, arm, ranks.Of(setting, arm), seed,
                   Rate(choices, Key(study, setting, arm), setting.Rates, asked), false),
        ];
        return [.. runner.All(runs, stop).SelectMany(run => run)];
    }

    private static List<Measured> Merge(
        Study study, Asked asked, int[] seeds, Runner runner, CancellationToken stop)
    {
        var choices = Read<Dictionary<string, RateChoice>>("choices", asked.Chooses ? Place(asked) : Records);
        MergeRun[] runs =
        [
            .. from seed in seeds
               from setting in study.Merges
               select new MergeRun(
                   setting, seed, Rate(choices, $"methods/four/{setting.RateOf}", Plan.FourTasks.Rates, asked)),
        ];
        return [.. runner.All(runs, stop).SelectMany(run => run)];
    }

    // A quick look at what was never chosen takes the middle one.
    private static double Rate(
        Dictionary<string, RateChoice> choices, string key, IReadOnlyList<double> rates, Asked asked) =>
        choices.TryGetValue(key, out var choice) ? choice.Rate
        : asked.IsQuick ? rates[rates.Count / 2]
        : throw new InvalidOperationException($"no learning rate is recorded for {key}: give --choose-rates");

    /// <summary>Where the learning rate of an arm stands in choices.json.</summary>
    internal static string Key(Study study, Setting setting, Arm arm) =>
        $"{study.Name}/{setting.RatesOf ?? setting.Name}/{arm.RateOf ?? arm.Name}";

    // The rate with the least loss on validation rows, by a seed that is not reported; no test row is read.
    private static Dictionary<string, RateChoice> Choose(
        Study study, Asked asked, Runner runner, RankChoices ranks, CancellationToken stop)
    {
        var open = (
            from setting in study.Settings
            where setting.RatesOf is null
            from arm in study.ArmsIn(setting)
            where arm.RateOf is null
            select (Setting: setting, Arm: arm, Losses: new SortedDictionary<double, double>())).ToList();
        while (true)
        {
            TrainRun[] runs =
            [
                .. from one in open
                   from rate in RateChoice.Next(one.Losses, one.Setting.Rates)
                   select new TrainRun(study.Name, one.Setting, one.Arm, ranks.Of(one.Setting, one.Arm),
                       ChoosingSeed, rate, true),
            ];
            if (runs.Length == 0)
                break;
            foreach (var (run, measured) in runs.Zip(runner.All(runs, stop)))
                open.Single(one => one.Setting == run.Setting && one.Arm == run.Arm)
                    .Losses.Add(run.Rate, measured[0].ValidationLoss!.Value);
        }
        var place = Place(asked);
        var choices = File.Exists(Path.Combine(place, "choices.json"))
            ? Read<Dictionary<string, RateChoice>>("choices", place) : [];
        foreach (var (setting, arm, losses) in open)
            choices[Key(study, setting, arm)] = RateChoice.Of(losses);
        Write(place, "choices", JsonSerializer.Serialize(
            new SortedDictionary<string, RateChoice>(choices, StringComparer.Ordinal), Json));
        return choices;
    }

    private static string Place(Asked asked) => asked.Records || asked.OnlyRenders ? Records : asked.Output;

    private static T Read<T>(string name, string place = Records) =>
        JsonSerializer.Deserialize<T>(File.ReadAllText(Path.Combine(place, name + ".json")), Json)!;

    private static string LineByLine(IReadOnlyList<Measured> runs) =>
        "[\n" + string.Join(",\n", runs.Select(run => JsonSerializer.Serialize(run, OneLine))) + "\n]";

    /// <summary>Writes results, unless the file says the same of another date.</summary>
    internal static void Keep(string path, ResultsDocument results)
    {
        if (!File.Exists(path) || ResultsFile.ToJson(ResultsFile.Load(path) with { Created = results.Created })
            != ResultsFile.ToJson(results))
            ResultsFile.Save(path, results);
    }

    private static void Write(string place, string name, string text)
    {
        Directory.CreateDirectory(place);
        AtomicFile.WriteText(Path.Combine(place, name + ".json"), text + "\n");
    }
}
