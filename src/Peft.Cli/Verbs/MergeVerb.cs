using System.Globalization;
using CommandLine;
using Peft.Adapters.Bundles;
using Peft.Adapters.Merging;
using Peft.Adapters;
using Peft.Cli.Printing;
using Peft.Evaluation;
using Peft.Formats;
using Peft.Models;
using Peft.Recipes.Reading;
using Peft.Recipes.Transfer;
using Peft.Recipes;

namespace Peft.Cli.Verbs;

/// <summary>Merges adapters that were trained apart.</summary>
[Verb("merge", HelpText = "Merges adapters that were trained apart: routed (phatgoose, arrow, average-activation) or into one LoRA.")]
public sealed class MergeVerb : IVerb
{
    private const string All = "all";

    /// <summary>The adapters.</summary>
    [Value(0, MetaName = "ADAPTER...", Required = true, HelpText = "Bundles, LoRA directories of PEFT, routed merges (to add to); NAME=DIR names one.")]
    public IEnumerable<string> Adapters { get; set; } = [];

    /// <summary>How.</summary>
    [Option("method", Required = true, MetaValue = "M", HelpText =
        "phatgoose, arrow, average-activation (routed); average, linear, cat, svd, task-arithmetic, ties, dare-linear, dare-ties, magnitude-prune; "
        + "all: every one, each in its directory below --output.")]
    public string Method { get; set; } = "";

    /// <summary>Where the result goes.</summary>
    [Option("output", Required = true, MetaValue = "DIR", HelpText = "Directory of the merged bundle.")]
    public string OutputDir { get; set; } = "";

    /// <summary>Weights.</summary>
    [Option("weights", MetaValue = "1,1", HelpText = "Weight of each adapter, separated by commas (default 1 each).")]
    public string? Weights { get; set; }

    /// <summary>Density.</summary>
    [Option("density", Default = 0.5, MetaValue = "P", HelpText = "Share of entries that ties, dare-* and magnitude-prune keep.")]
    public double Density { get; set; }

    /// <summary>Seed.</summary>
    [Option("seed", Default = 0L, MetaValue = "S", HelpText = "Seed of dare-*'s draws.")]
    public long Seed { get; set; }

    /// <summary>Rank.</summary>
    [Option("rank", MetaValue = "N", HelpText = "Cut a static merge down to this rank (svd: default the largest adapter's).")]
    public int? Rank { get; set; }

    /// <summary>Factors.</summary>
    [Option("factors", HelpText = "Merge A and B apart instead of their product (average, ties, dare-*, magnitude-prune; equal ranks).")]
    public bool Factors { get; set; }

    /// <summary>Lambda.</summary>
    [Option("lambda", Default = 1.0, MetaValue = "L", HelpText = "task-arithmetic: factor on the sum.")]
    public double Lambda { get; set; }

    /// <summary>Experts a token.</summary>
    [Option("top-k", Default = 2, MetaValue = "K", HelpText = "Routed merges: experts a token and module.")]
    public int TopK { get; set; }

    /// <summary>Temperature.</summary>
    [Option("temperature", Default = 1.0, MetaValue = "T", HelpText = "Routed merges: divisor of the scores (1 as in the papers).")]
    public double Temperature { get; set; }

    /// <summary>What to take out.</summary>
    [Option("remove", MetaValue = "NAME,...", HelpText = "Leave these adapters of a routed merge out.")]
    public string? Remove { get; set; }

    /// <summary>The base.</summary>
    [Option("base", MetaValue = "DIR", HelpText = "The base model, where no adapter holds its fingerprint (PEFT's directories).")]
    public string? Base { get; set; }

    /// <summary>What to measure.</summary>
    [Option("recipe", MetaValue = "FILE", HelpText = "Measure the base, the adapters and the result on this recipe's tasks.")]
    public string? Recipe { get; set; }

    /// <summary>What else to measure.</summary>
    [Option("beside", MetaValue = "DIR,...", HelpText = "With --recipe: measure these bundles too, such as a mixture trained jointly.")]
    public string? Beside { get; set; }

    /// <summary>Where to compute.</summary>
    [Option("device", Default = "auto", HelpText = "With --recipe: auto, cpu or cuda:N.")]
    public string Device { get; set; } = "auto";

    /// <summary>Replace.</summary>
    [Option("overwrite", HelpText = "Replace the bundle that stands in the output directory.")]
    public bool Overwrite { get; set; }

    /// <summary>Machine output.</summary>
    [Option("json", HelpText = "Print the report as JSON on standard output.")]
    public bool Json { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
        var methods = Method == All ? MergeCatalog.Entries : [MergeCatalog.Find(Method) ?? throw new UserException(
            $"--method {Quote.Of(Method)}: is no method - {string.Join(", ", MergeCatalog.Names)}, or {All}"
            + (NearestName.Of(Method, MergeCatalog.Names) is { } near ? $" - did you mean {near}?" : ""))];
        if (Beside is not null && Recipe is null)
            throw new UserException("--beside: measures bundles - it needs the tasks of --recipe FILE");
        var options = Options();
        var recipe = Recipe is null ? null : Recipes.Recipe.Load(Recipe, []);
        if (recipe is { Evaluation.Tasks.Count: 0 })
            throw new UserException($"{Recipe}: evaluation.tasks is empty - tasks of the data sets under data.eval - or leave --recipe out");
        foreach (var method in methods)
            ResultDirectory.Require(PathOf(method), Overwrite, Adapters.Select(adapter => MergeSource.Parse(adapter).Directory));
        var sources = Without([.. Adapters.SelectMany(MergeSource.Open)]);
        var merged = new List<(string Name, string Directory)>();
        foreach (var method in methods)
        {
            var directory = PathOf(method);
            if (Merge(method, sources, options, directory, output))
                merged.Add((method.Name, directory));
        }
        if (recipe is not null)
            Measure(recipe, sources, merged, output);
        return ExitCode.Done;
    }

    private string PathOf(MergeMethod method) => Method == All ? Path.Combine(OutputDir, method.Name) : OutputDir;

    private bool Merge(MergeMethod method, IReadOnlyList<MergeSource> sources, MergeOptions options, string path, Output output)
    {
        MergeReport report;
        try
        {
            report = AdapterMerge.Run(sources, method, options, Identity(sources), path);
            new OutputDirectory(path, null).ClearRemains();
        }
        catch (UserException e) when (Method == All)
        {
            // One way that does not fit these adapters leaves the others.
            output.Say($"{method.Name}: left out - {e.Message}");
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
                ? string.Create(CultureInfo.InvariantCulture, $" (relative error {report.Total.RelativeError:F4}, energy kept {report.Total.EnergyKept:F4})")
                : ""));
        return true;
    }

    private void Measure(Recipe recipe, IReadOnlyList<MergeSource> sources, IReadOnlyList<(string Name, string Directory)> merged, Output output)
    {
        var tasks = new TaskMeasurement(recipe, RunBuilder.LoadTokenizer(recipe));
        var device = Devices.Choose(Device);
        var rows = new List<EvaluationResults>();
        void Add(string name, string? directory, bool keep = false)
        {
            output.Say($"measuring {name}");
            rows.Add(tasks.Of(name, directory, device));
            if (keep)
                rows[^1].Save(Path.Combine(directory!, EvaluationResults.FileName));
        }
        Add("base", null);
        // The experts of a routed merge have no directory of their own.
        var alone = sources.Where(source => sources.Count(other => other.Directory == source.Directory) == 1).ToList();
        foreach (var source in alone)
            Add($"{source.Name} alone", source.Directory);
        if (alone.Count > 1)
            rows.Add(TaskMeasurement.BestOf("best expert of each task", rows[1..]));
        foreach (var (name, directory) in merged)
            Add(name, directory, keep: true);
        foreach (var directory in Beside?.Split(',', StringSplitOptions.TrimEntries) ?? [])
            Add(Path.GetFileName(Path.TrimEndingDirectorySeparator(directory)), directory);
        output.Result(Json ? ResultsJson.Of([.. rows.Select(row => (row.Model, row))]) : "\n" + ComparisonTable.Of(rows));
    }

    private MergeOptions Options()
    {
        var faults = new Faults();
        void Check(bool good, string option, string found, string allowed)
        {
            if (!good)
                faults.Add(option, found, allowed);
        }
        Check(Density is > 0 and <= 1, "--density", Density.ToString(CultureInfo.InvariantCulture), "above 0, up to 1");
        Check(Rank is null or (>= 1 and <= 65536), "--rank", $"{Rank}", "1 to 65536");
        Check(TopK >= 1, "--top-k", $"{TopK}", "at least 1");
        Check(Temperature > 0 && double.IsFinite(Temperature), "--temperature", Temperature.ToString(CultureInfo.InvariantCulture), "above 0");
        Check(double.IsFinite(Lambda), "--lambda", Lambda.ToString(CultureInfo.InvariantCulture), "a finite number");
        var weights = new List<double>();
        foreach (var part in Weights?.Split(',', StringSplitOptions.TrimEntries) ?? [])
        {
            var isNumber = double.TryParse(part, NumberStyles.Float, CultureInfo.InvariantCulture, out var weight) && double.IsFinite(weight);
            Check(isNumber, "--weights", Quote.Of(part), "numbers separated by commas, such as 1,0.5");
            weights.Add(weight);
        }
        Check(Method != "average" || weights.Count == 0 || weights.Sum() != 0, "--weights", Weights ?? "", "a sum other than 0 for average");
        faults.ThrowIfAny("peft merge");
        return new MergeOptions
        {
            Weights = [.. weights], Density = Density, Seed = Seed, Rank = Rank, Factors = Factors, Lambda = Lambda, TopK = TopK, Temperature = Temperature,
        };
    }

    private List<MergeSource> Without(List<MergeSource> sources)
    {
        var names = Remove?.Split(',', StringSplitOptions.TrimEntries) ?? [];
        foreach (var name in names.Where(name => !sources.Exists(source => source.Name == name)))
            throw new UserException($"--remove {Quote.Of(name)}: is not among them - {string.Join(", ", sources.Select(source => source.Name))}");
        return [.. sources.Where(source => !names.Contains(source.Name))];
    }

    // PEFT's directories name their base; the directory itself tells its fingerprint.
    private Func<BaseIdentity>? Identity(IReadOnlyList<MergeSource> sources)
    {
        if (Base is not null)
            return () => new BaseIdentity(Base, ModelLoader.Fingerprint(Base));
        var named = sources.FirstOrDefault(source => source.BaseName.Length > 0);
        if (named is null)
            return null;
        var found = new RecipePaths(Path.Combine(Path.GetFullPath(named.Directory), BundleFiles.Config)).Resolve(named.BaseName);
        return Directory.Exists(found) ? () => new BaseIdentity(named.BaseName, ModelLoader.Fingerprint(found)) : null;
    }
}
