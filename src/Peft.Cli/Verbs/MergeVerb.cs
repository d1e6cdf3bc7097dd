using System.Globalization;
using CommandLine;
using Peft.Adapters;
using Peft.Adapters.Bundles;
using Peft.Adapters.Merging;
using Peft.Adapters.Routing;
using Peft.Cli.Printing;
using Peft.Distributed;
using Peft.Evaluation;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Models;
using Peft.Recipes;
using Peft.Recipes.Reading;
using Peft.Recipes.Transfer;
using Peft.Training.Ranks;

namespace Peft.Cli.Verbs;

/// <summary>Merges adapters that were trained separately.</summary>
[Verb("merge", HelpText = "Merge adapters behind a router or into one LoRA.")]
public sealed class MergeVerb : IRankedVerb
{
    private const string All = "all";

    /// <summary>The adapters.</summary>
    [Value(0, MetaName = "ADAPTER...", Required = true, HelpText =
        "Bundles, LoRA directories written by Hugging Face PEFT, or routed merges to add to; NAME=DIR names one.")]
    public IEnumerable<string> Adapters { get; set; } = [];

    /// <summary>How.</summary>
    [Option("method", Required = true, MetaValue = "M", HelpText =
        "Behind a router: phatgoose, arrow, average-activation, spectr, glider. Into one LoRA: average, linear, cat, "
        + "svd, task-arithmetic, ties, dare-linear, dare-ties, magnitude-prune, core-ties, core-tsv, core-iso-c, "
        + "core-iso-cts, knots-ties, robustmerge, lorahub, lorahub-updates. "
        + "all: each of them, in its own directory below --output, with the options that it uses.")]
    public string Method { get; set; } = "";

    /// <summary>Where the result goes.</summary>
    [Option("output", Required = true, MetaValue = "DIR", HelpText = "Directory of the merged bundle.")]
    public string OutputDir { get; set; } = "";

    /// <summary>Weights.</summary>
    [Option("weights", MetaValue = "1,1", HelpText = "One weight per adapter, separated by commas (default: 1 each).")]
    public string? Weights { get; set; }

    /// <summary>Density.</summary>
    [Option("density", MetaValue = "P", HelpText =
        "Fraction of entries that ties, dare-* and magnitude-prune keep (default: 0.5), core-ties (0.1), robustmerge "
        + "(0.2) and knots-ties (1).")]
    public double? Density { get; set; }

    /// <summary>Seed.</summary>
    [Option("seed", MetaValue = "S", HelpText =
        "Seed of the random masks of dare-* and of lorahub's search (default: 0).")]
    public long? Seed { get; set; }

    /// <summary>Rank.</summary>
    [Option("rank", MetaValue = "N", HelpText =
        "Reduce a static merge to at most this rank (default for svd: the largest adapter's; not cat and linear).")]
    public int? Rank { get; set; }

    /// <summary>Factors.</summary>
    [Option("factors", HelpText =
        "Merge A and B separately instead of their product (average, ties, dare-*, magnitude-prune; equal ranks).")]
    public bool Factors { get; set; }

    /// <summary>Lambda.</summary>
    [Option("lambda", MetaValue = "L", HelpText =
        "task-arithmetic, core-*, knots-ties and robustmerge: factor applied to the result (default: 1).")]
    public double? Lambda { get; set; }

    /// <summary>Rows to search on.</summary>
    [Option("examples", MetaValue = "N", HelpText =
        "lorahub: training rows of --recipe that weights are tried on (default: 5).")]
    public int? Examples { get; set; }

    /// <summary>Length of the search.</summary>
    [Option("steps", MetaValue = "N", HelpText = "lorahub: how many weights are tried (default: 40).")]
    public int? Steps { get; set; }

    /// <summary>Common directions.</summary>
    [Option("common", MetaValue = "P", HelpText =
        "core-iso-cts: fraction of the directions taken from the sum (default: 0.8).")]
    public double? Common { get; set; }

    /// <summary>Experts a token.</summary>
    [Option("top-k", MetaValue = "K", HelpText = "Routed merges: experts per token in each module (default: 2).")]
    public int? TopK { get; set; }

    /// <summary>Temperature.</summary>
    [Option("temperature", MetaValue = "T", HelpText =
        "Routed merges: divisor of the scores (default: 1, as in the papers).")]
    public double? Temperature { get; set; }

    /// <summary>SpectR's score.</summary>
    [Option("score", MetaValue = "S", HelpText =
        "spectr: update (default, the paper's) or directions (the released code's).")]
    public string? Score { get; set; }

    /// <summary>GLIDER's weight of descriptions.</summary>
    [Option("alpha", MetaValue = "A", HelpText =
        "glider: weight of how near a prompt is to an adapter's description (default: 3).")]
    public double? Alpha { get; set; }

    /// <summary>GLIDER's query.</summary>
    [Option("query", MetaValue = "FILE", HelpText =
        "glider: compare descriptions with this vector, a JSON array of numbers (default: with each prompt).")]
    public string? QueryFile { get; set; }

    /// <summary>What to take out.</summary>
    [Option("remove", MetaValue = "NAME,...", HelpText = "Leave out these adapters of a routed merge.")]
    public string? Remove { get; set; }

    /// <summary>The base.</summary>
    [Option("base", MetaValue = "DIR", HelpText =
        "Base model, needed where no adapter records its fingerprint (directories of PEFT).")]
    public string? Base { get; set; }

    /// <summary>What to measure.</summary>
    [Option("recipe", MetaValue = "FILE", HelpText =
        "Measure the base, the adapters and the result on the tasks of this recipe; lorahub tries weights on its "
        + "training rows.")]
    public string? Recipe { get; set; }

    /// <summary>What else to measure.</summary>
    [Option("beside", MetaValue = "DIR,...", HelpText =
        "With --recipe: also measure these bundles, such as a jointly trained mixture.")]
    public string? Beside { get; set; }

    /// <summary>Where to compute.</summary>
    [Option("device", Default = "auto", MetaValue = "D", HelpText =
        "With --recipe, where to compute: auto, cpu or cuda:N.")]
    public string Device { get; set; } = "auto";

    /// <summary>Replace.</summary>
    [Option("overwrite", HelpText = "Replace a bundle in the output directory.")]
    public bool Overwrite { get; set; }

    /// <summary>Output for programs.</summary>
    [Option("json", HelpText = "Print the report as JSON on standard output.")]
    public bool Json { get; set; }

    /// <inheritdoc/>
    public int Run(Output output) => Run(output, RankGroup.Alone);

    /// <inheritdoc/>
    public int Run(Output output, RankGroup group)
    {
        var ranks = group.Ranks;
        var (methods, options, recipe, sources) = ranks.Together(Prepare, Failures.Describe);
        if (ranks.IsShared())
            Handshake.Compare(ranks, ranks.Together(() => Identity(group, recipe, sources), Failures.Describe));
        var merged = SharedWork.Do(
            ranks, methods.Count, (piece, told) => Merge(methods[piece], sources, Method == All
                ? options.For(methods[piece]) : options, PathOf(methods[piece]), recipe, group, told), output);
        if (recipe is { Evaluation.Tasks.Count: > 0 })
            Measure(
                recipe, sources, [.. methods.Zip(merged).Where(pair => pair.Second).Select(
                    pair => (pair.First.Name, PathOf(pair.First)))], group, output);
        return ExitCode.Done;
    }

    private (IReadOnlyList<MergeMethod> Methods, MergeOptions Options, Recipe? Recipe, List<MergeSource> Sources)
        Prepare()
    {
        IReadOnlyList<MergeMethod> methods = Method == All ? MergeCatalog.Entries : [MergeCatalog.Find(Method)
            ?? throw UserException.At(
                "--method", $"{Quote.Of(Method)} is not a method", Words.OneOf([.. MergeCatalog.Names, All]),
                NearestName.Question(Method, MergeCatalog.Names))];
        var besides = Besides;
        if (Beside is not null && Recipe is null)
            throw UserException.At("--beside", "has no effect without --recipe", null,
                "add --recipe FILE, whose tasks are measured");
        var options = Options();
        var recipe = Recipe is null ? null : Recipes.Recipe.Load(Recipe, []);
        if (recipe is { Evaluation.Tasks.Count: 0 } && !methods.Any(method => Searches(method, options)))
            throw UserException.At(
                Recipe!, "evaluation.tasks is empty", "tasks on the data sets under data.eval",
                "or leave --recipe out");
        if (besides.Exists(directory => directory.Length == 0))
            throw UserException.At("--beside", Quote.Of(Beside!), "directories separated by commas");
        foreach (var directory in besides)
            _ = Bundle.BaseNameOf(directory); // rather now than after the merge
        foreach (var method in methods)
            ResultDirectory.Require(PathOf(method), Overwrite,
                Adapters.Select(adapter => MergeSource.Parse(adapter).Directory));
        var sources = Without([.. Adapters.SelectMany(MergeSource.Open)]);
        RequireBase(sources);
        return (methods, options, recipe, sources);
    }

    // What must be the same on every rank; the command line is.
    private static IReadOnlyList<(string Name, string Value)> Identity(
        RankGroup group, Recipe? recipe, List<MergeSource> sources) =>
    [
        .. sources.Select(source => (source.Name, Handshake.Short(source.Hash()))),
        .. recipe is null ? [] : RankGroup.IdentityOf(recipe, RunBuilder.LoadTokenizer(recipe)),
    ];

    private List<string> Besides => [.. Beside?.Split(',', StringSplitOptions.TrimEntries) ?? []];

    private string PathOf(MergeMethod method) => Method == All ? Path.Combine(OutputDir, method.Name) : OutputDir;

    private static bool Searches(MergeMethod method, MergeOptions options) =>
        method is StaticMerge { SearchesWeights: true } && options.Weights.Count == 0;

    private MergeOptions WithFoundWeights(
        MergeMethod method, IReadOnlyList<MergeSource> sources, MergeOptions options, Recipe? recipe, RankGroup group,
        Output output)
    {
        if (recipe is null || !Searches(method, options))
            return options;
        output.Say($"{method.Name}: trying {options.Steps} weights on {Words.Count(options.Examples, "training row")}");
        var found = MergeWeights.Search(sources, (StaticMerge)method, options, recipe, group.Device(Device));
        output.Say(string.Create(
            CultureInfo.InvariantCulture,
            $"weights {string.Join(", ", sources.Zip(found.Weights, (s, weight) => $"{s.Name} {weight:F3}"))}: loss "
                + $"{found.Loss:F4}, {found.FirstLoss:F4} without adapters"));
        return options with { Found = [.. found.Weights] };
    }

    private bool Merge(
        MergeMethod method, IReadOnlyList<MergeSource> sources, MergeOptions options, string path, Recipe? recipe,
        RankGroup group, Output output)
    {
        MergeReport report;
        try
        {
            options = WithFoundWeights(method, sources, options, recipe, group, output);
            report = AdapterMerge.Run(sources, method, options, Identity(sources), path);
            new OutputDirectory(path, null).ClearRemains();
        }
        catch (UserException e) when (Method == All)
        {
            // A method that does not fit these adapters does not stop the others.
            output.Say($"{method.Name}: skipped. {e.Message}");
            return false;
        }
        foreach (var note in report.Notes)
            output.Say(note);
        if (Json)
            output.Result(MergePrinting.Json(report, path));
        else if (Method != All)
            output.Result(MergePrinting.Text(report));
        output.Say($"{path}: merged {string.Join(", ", report.Names)} by {report.Method}"
            + (report.Losses.Count > 0
                ? string.Create(
                    CultureInfo.InvariantCulture,
                    $" (relative error {report.Total.RelativeError:F4}, energy kept {report.Total.EnergyKept:F4})")
                : ""));
        return true;
    }

    private void Measure(
        Recipe recipe, IReadOnlyList<MergeSource> sources, IReadOnlyList<(string Name, string Directory)> merged,
        RankGroup group, Output output)
    {
        var tasks = new TaskMeasurement(recipe, RunBuilder.LoadTokenizer(recipe), group.Ranks);
        var device = group.Device(Device);
        var rows = new List<MeasuredSubject>();
        void Add(string name, string? directory, bool keep = false)
        {
            if (rows.Any(row => row.Description.Name == name))
                name = directory ?? name;
            output.Say($"measuring {name}");
            rows.Add(tasks.Of(name, directory, device));
            if (keep && group.Ranks.IsFirst())
                ResultsFile.Save(Path.Combine(directory!, ResultsFile.Name),
                    tasks.Results([rows[0], rows[^1]], device, compares: true));
        }
        Add("base", null);
        // The experts of a routed merge have no directory of their own.
        var alone = sources.Where(source => sources.Count(other => other.Directory == source.Directory) == 1).ToList();
        foreach (var source in alone)
            Add(NameAlone(source), source.Directory);
        foreach (var (name, directory) in merged)
            Add(name, directory, keep: true);
        foreach (var directory in Besides)
            Add(Path.GetFileName(Path.TrimEndingDirectorySeparator(directory)), directory);
        var results = tasks.Results(rows, device, compares: false);
        if (alone.Count > 1)
            results = TaskMeasurement.WithBestOf(results, "best expert of each task", [.. alone.Select(NameAlone)]);
        output.Result(Json ? ResultsPrinting.Json(results) : "\n" + ResultsPrinting.ByModel(results, Output.Width));
    }

    private static string NameAlone(MergeSource source) => $"{source.Name} alone";

    private MergeOptions Options()
    {
        var faults = new Faults();
        void Check(bool good, string option, string found, string expected)
        {
            if (!good)
                faults.Add(option, found, expected);
        }
        Check(Density is null or (> 0 and <= 1), "--density", Text(Density), "a number above 0 and at most 1");
        Check(Rank is null or (>= 1 and <= 65536), "--rank", $"{Rank}", "a whole number from 1 to 65536");
        Check(Examples is null or (>= 1 and <= 65536), "--examples", $"{Examples}", "a whole number from 1 to 65536");
        Check(Steps is null or >= 1, "--steps", $"{Steps}", "a whole number of at least 1");
        Check(TopK is null or >= 1, "--top-k", $"{TopK}", "a whole number of at least 1");
        Check(
            Temperature is null || Temperature > 0 && double.IsFinite(Temperature.Value), "--temperature",
            Text(Temperature), "a number above 0");
        Check(Common is null or (>= 0 and <= 1), "--common", Text(Common), "a number from 0 to 1");
        Check(
            Score is null or SpectrRouterOptions.Update or SpectrRouterOptions.Directions, "--score",
            Quote.Of(Score ?? ""), "update or directions");
        Check(Alpha is null || (Alpha >= 0 && double.IsFinite(Alpha.Value)), "--alpha", Text(Alpha), "a number from 0");
        Check(Lambda is null || double.IsFinite(Lambda.Value), "--lambda", Text(Lambda), "a finite number");
        var weights = new List<double>();
        foreach (var part in Weights?.Split(',', StringSplitOptions.TrimEntries) ?? [])
        {
            var isNumber = double.TryParse(part, NumberStyles.Float, CultureInfo.InvariantCulture, out var weight);
            Check(isNumber && double.IsFinite(weight), "--weights", Quote.Of(part),
                "numbers separated by commas, such as 1,0.5");
            weights.Add(weight);
        }
        Check(Method != "average" || weights.Count == 0 || weights.Sum() != 0, "--weights", Weights ?? "",
            "weights with a sum other than 0 for --method average");
        var none = new MergeOptions();
        var options = new MergeOptions
        {
            Weights = [.. weights], Density = Density, Seed = Seed ?? none.Seed, Rank = Rank,
            Factors = Factors, Lambda = Lambda ?? none.Lambda, TopK = TopK ?? none.TopK,
            Temperature = Temperature ?? none.Temperature, Common = Common ?? none.Common,
            Examples = Examples ?? none.Examples, Steps = Steps ?? none.Steps,
            Score = Score ?? none.Score, Alpha = Alpha ?? none.Alpha,
            Query = QueryFile is null ? []
                : [.. VectorReader.Read("--query", QueryFile).Select(value => (double)value)],
            Given = [.. new (object? Value, string Name)[]
                {
                    (Weights, "--weights"), (Density, "--density"), (Seed, "--seed"), (Rank, "--rank"),
                    (Lambda, "--lambda"), (TopK, "--top-k"), (Temperature, "--temperature"), (Common, "--common"),
                    (Score, "--score"), (Alpha, "--alpha"), (QueryFile, "--query"),
                    (Examples, "--examples"), (Steps, "--steps"),
                }.Where(option => option.Value is not null).Select(option => option.Name)],
        };
        if (Method != All && MergeCatalog.Find(Method) is { } method)
            options.NoteUnused(faults, method);
        if (Recipe is null && Device is not ("auto" or "cpu"))
            faults.Add(
                "--device", "no effect without --recipe: a merge itself runs on the CPU", null,
                "remove it, or add --recipe FILE");
        faults.ThrowIfAny("peft merge");
        return options;

        static string Text(double? number) => number?.ToString(CultureInfo.InvariantCulture) ?? "";
    }

    private List<MergeSource> Without(List<MergeSource> sources)
    {
        var names = Remove?.Split(',', StringSplitOptions.TrimEntries) ?? [];
        var known = sources.ConvertAll(source => source.Name);
        var unknown = names.Except(known).ToList();
        if (unknown.Count > 0)
            throw UserException.At(
                "--remove",
                $"{Words.AllOf(unknown.ConvertAll(Quote.Of))} {(unknown.Count == 1 ? "is" : "are")} not among the "
                    + "adapters",
                Words.OneOf(known), NearestName.Question(unknown, known));
        return [.. sources.Where(source => !names.Contains(source.Name))];
    }

    private void RequireBase(List<MergeSource> sources)
    {
        if (Base is null || sources.TrueForAll(source => source.Base is null))
            return;
        var fingerprint = ModelLoader.Fingerprint(Base);
        if (sources.Find(source => source.Base is { } own && own.Fingerprint != fingerprint) is { } other)
        {
            throw UserException.At(
                "--base", $"{other.Name} was trained on {other.Base!.Name}, which is not {Base}",
                "the base of the adapters", "leave --base out where they record it");
        }
    }

    // PEFT's directories name their base; the directory itself tells its fingerprint.
    private Func<BaseIdentity>? Identity(IReadOnlyList<MergeSource> sources)
    {
        if (Base is not null)
            return () => new BaseIdentity(Base, ModelLoader.Fingerprint(Base));
        var named = sources.FirstOrDefault(source => source.BaseName.Length > 0);
        if (named is null)
            return null;
        var found = RecipePaths.OfAdapter(named.Directory).Resolve(named.BaseName);
        return Directory.Exists(found) ? () => new BaseIdentity(named.BaseName, ModelLoader.Fingerprint(found)) : null;
    }
}
