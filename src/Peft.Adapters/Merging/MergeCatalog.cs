using Peft.Formats;

namespace Peft.Adapters.Merging;

/// <summary>Every way of merging, one line each. Adding one is a class and a line here.</summary>
public static class MergeCatalog
{
    /// <summary>The methods: routed ones first.</summary>
    public static IReadOnlyList<MergeMethod> Entries { get; } =
    [
        new PhatgooseMerge(),
        new ArrowMerge(),
        new AverageActivationMerge(),
        new SpectrMerge(),
        new GliderMerge(),
        new AverageMerge(),
        new LinearMerge(),
        new CatMerge(),
        new SvdMerge(),
        new TaskArithmeticMerge(),
        new TiesMerge(),
        new DareLinearMerge(),
        new DareTiesMerge(),
        new MagnitudePruneMerge(),
        new CoreTiesMerge(),
        new CoreTsvMerge(),
        new CoreIsoCMerge(),
        new CoreIsoCtsMerge(),
        new KnotsTiesMerge(),
        new RobustMerge(),
        new LoraHubMerge(),
        new LoraHubUpdatesMerge(),
    ];

    /// <summary>Their names.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Entries.Select(entry => entry.Name)];

    /// <summary>The method of a name; null where there is none.</summary>
    public static MergeMethod? Find(string name) => Entries.FirstOrDefault(entry => entry.Name == name);
}

/// <summary>What a merge may be told; each method uses what concerns it.</summary>
public sealed record MergeOptions
{
    internal const string WeightsName = "--weights";
    internal const string DensityName = "--density";
    internal const string SeedName = "--seed";
    internal const string RankName = "--rank";
    internal const string FactorsName = "--factors";
    internal const string LambdaName = "--lambda";
    internal const string CommonName = "--common";
    internal const string ExamplesName = "--examples";
    internal const string StepsName = "--steps";
    internal const string TopKName = "--top-k";
    internal const string TemperatureName = "--temperature";
    internal const string ScoreName = "--score";
    internal const string AlphaName = "--alpha";
    internal const string QueryName = "--query";

    // One line an option: its name, whether it says something else than its default, and how it goes from one to
    // another.
    private static readonly (string Name, Func<MergeOptions, bool> IsSet, Func<MergeOptions, MergeOptions, MergeOptions>
        Take)[] All =
    [
        (WeightsName, o => o.Weights.Count > 0, (to, from) => to with { Weights = from.Weights }),
        (DensityName, o => o.Density is not null, (to, from) => to with { Density = from.Density }),
        (SeedName, o => o.Seed != 0, (to, from) => to with { Seed = from.Seed }),
        (RankName, o => o.Rank is not null, (to, from) => to with { Rank = from.Rank }),
        (FactorsName, o => o.Factors, (to, from) => to with { Factors = from.Factors }),
        (LambdaName, o => o.Lambda != new MergeOptions().Lambda, (to, from) => to with { Lambda = from.Lambda }),
        (CommonName, o => o.Common != new MergeOptions().Common, (to, from) => to with { Common = from.Common }),
        (ExamplesName, o => o.Examples != new MergeOptions().Examples, (to, from) =>
            to with { Examples = from.Examples }),
        (StepsName, o => o.Steps != new MergeOptions().Steps, (to, from) => to with { Steps = from.Steps }),
        (TopKName, o => o.TopK != new MergeOptions().TopK, (to, from) => to with { TopK = from.TopK }),
        (TemperatureName, o => o.Temperature != 1, (to, from) => to with { Temperature = from.Temperature }),
        (ScoreName, o => o.Score != new MergeOptions().Score, (to, from) => to with { Score = from.Score }),
        (AlphaName, o => o.Alpha != new MergeOptions().Alpha, (to, from) => to with { Alpha = from.Alpha }),
        (QueryName, o => o.Query.Count > 0, (to, from) => to with { Query = from.Query }),
    ];

    /// <summary>The options that were written, as the command line names them, whatever their values.</summary>
    public EquatableList<string> Given { get; init; } = [];

    /// <summary>Weight of each adapter, in order; empty: 1 each.</summary>
    /// <value>Default empty. <c>average</c> divides them by their sum.</value>
    public EquatableList<double> Weights { get; init; } = [];

    /// <summary>Weights that a search found where none are given; empty: none was made.</summary>
    public EquatableList<double> Found { get; init; } = [];

    /// <summary>Share of entries that methods with trimming or dropping keep; null: what the method says.</summary>
    /// <value>Default null, <see cref="MergeMethod.FirstDensity"/>; above 0, up to 1. TIES' paper keeps 0.2.</value>
    public double? Density { get; init; }

    /// <summary>Seed of DARE's draws, each adapter and tensor having its own stream, and of a search for
    /// weights.</summary>
    /// <value>Default 0.</value>
    public long Seed { get; init; }

    /// <summary>Rank that the result is cut down to; null: the largest rank of the adapters for <c>svd</c>, none for
    /// others.</summary>
    public int? Rank { get; init; }

    /// <summary>Whether A and B are merged apart (equal ranks needed) instead of their product.</summary>
    /// <value>Default false. Averaging factors adds cross terms B_i A_j that no adapter had.</value>
    public bool Factors { get; init; }

    /// <summary>Factor on the whole update: task arithmetic's λ.</summary>
    /// <value>Default 1. Most papers search it on held-out rows.</value>
    public double Lambda { get; init; } = 1;

    /// <summary>Share of the directions that Iso-CTS takes from the sum; the rest are each adapter's own.</summary>
    /// <value>Default 0.8, the authors'; from 0 to 1.</value>
    public double Common { get; init; } = 0.8;

    /// <summary>Training rows that a search for weights measures on.</summary>
    /// <value>Default 5, LoraHub's; at least 1.</value>
    public int Examples { get; init; } = 5;

    /// <summary>Weights that a search tries.</summary>
    /// <value>Default 40, LoraHub's; at least 1.</value>
    public int Steps { get; init; } = 40;

    /// <summary>Experts a token and module, for routed merges.</summary>
    /// <value>Default 2; the number of experts where there are fewer.</value>
    public int TopK { get; init; } = 2;

    /// <summary>Temperature of routed merges.</summary>
    /// <value>Default 1, the papers'.</value>
    public double Temperature { get; init; } = 1;

    /// <summary>What SpectR compares experts by (<see cref="Routing.SpectrRouterOptions.Score"/>).</summary>
    /// <value>Default update, the paper's.</value>
    public string Score { get; init; } = Routing.SpectrRouterOptions.Update;

    /// <summary>Weight of GLIDER's global score (<see cref="Routing.GliderRouterOptions.Alpha"/>).</summary>
    /// <value>Default 3.</value>
    public double Alpha { get; init; } = new Routing.GliderRouterOptions().Alpha;

    /// <summary>The vector that GLIDER compares the adapters' descriptions with; empty: what the base makes of each
    /// prompt.</summary>
    public EquatableList<double> Query { get; init; } = [];

    /// <summary>Notes every option that was given and that a method does not use, with the methods that do.</summary>
    public void NoteUnused(Faults faults, MergeMethod method)
    {
        var used = method.Uses(this);
        foreach (var option in NotDefault().Union(Given).Where(option => !used.Contains(option)))
        {
            var others = MergeCatalog.Entries.Where(entry => entry.Uses(this).Contains(option))
                .Select(entry => entry.Name).ToList();
            var withFactors = Factors && method.Uses(this with { Factors = false }).Contains(option);
            faults.Add(
                option, $"no effect with --method {method.Name}{(withFactors ? " --factors" : "")}", null,
                withFactors ? "remove one of the two" : $"remove it, or use {Words.OneOf(others)}");
        }
    }

    /// <summary>The same without what a method does not use.</summary>
    public MergeOptions For(MergeMethod method)
    {
        var kept = method.Uses(this);
        return All.Where(option => kept.Contains(option.Name)).Aggregate(
            new MergeOptions { Given = [.. Given.Where(kept.Contains)], Found = Found },
            (to, option) => option.Take(to, this));
    }

    private IEnumerable<string> NotDefault() => All.Where(option => option.IsSet(this)).Select(option => option.Name);

    /// <summary>Weight of an adapter.</summary>
    public double WeightOf(int adapter) =>
        Weights.Count > 0 ? Weights[adapter] : Found.Count > 0 ? Found[adapter] : 1;
}
