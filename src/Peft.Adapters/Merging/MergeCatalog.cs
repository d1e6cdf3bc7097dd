using Peft.Formats;

namespace Peft.Adapters.Merging;

/// <summary>Every way of merging, one line each. Adding one is a class in <c>StaticMethods</c> or <c>RoutedMerge</c>
/// and a line here.</summary>
public static class MergeCatalog
{
    /// <summary>The methods: routed ones first.</summary>
    public static IReadOnlyList<MergeMethod> Entries { get; } =
    [
        new PhatgooseMerge(),
        new ArrowMerge(),
        new AverageActivationMerge(),
        new AverageMerge(),
        new LinearMerge(),
        new CatMerge(),
        new SvdMerge(),
        new TaskArithmeticMerge(),
        new TiesMerge(),
        new DareLinearMerge(),
        new DareTiesMerge(),
        new MagnitudePruneMerge(),
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
    internal const string TopKName = "--top-k";
    internal const string TemperatureName = "--temperature";

    /// <summary>The options that were written, as the command line names them, whatever their values.</summary>
    public EquatableList<string> Given { get; init; } = [];

    /// <summary>Weight of each adapter, in order; empty: 1 each.</summary>
    /// <value>Default empty. <c>average</c> divides them by their sum.</value>
    public EquatableList<double> Weights { get; init; } = [];

    /// <summary>Share of entries that TIES, DARE and pruning keep.</summary>
    /// <value>Default 0.5; above 0, up to 1. TIES' paper keeps 0.2.</value>
    public double Density { get; init; } = 0.5;

    /// <summary>Seed of DARE's draws; each adapter and tensor has its own stream.</summary>
    /// <value>Default 0.</value>
    public long Seed { get; init; }

    /// <summary>Rank that the result is cut down to; null: the largest rank of the adapters for <c>svd</c>, none for
    /// others.</summary>
    public int? Rank { get; init; }

    /// <summary>Whether A and B are merged apart (equal ranks needed) instead of their product.</summary>
    /// <value>Default false. Averaging factors adds cross terms B_i A_j that no adapter had.</value>
    public bool Factors { get; init; }

    /// <summary>Factor on the whole sum: task arithmetic's λ.</summary>
    /// <value>Default 1.</value>
    public double Lambda { get; init; } = 1;

    /// <summary>Experts a token and module, for routed merges.</summary>
    /// <value>Default 2; the number of experts where there are fewer.</value>
    public int TopK { get; init; } = 2;

    /// <summary>Temperature of routed merges.</summary>
    /// <value>Default 1, the papers'.</value>
    public double Temperature { get; init; } = 1;

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
        var none = new MergeOptions();
        T Kept<T>(string option, T value, T fallback) => kept.Contains(option) ? value : fallback;
        return new MergeOptions
        {
            Given = [.. Given.Where(kept.Contains)],
            Weights = Kept(WeightsName, Weights, none.Weights),
            Density = Kept(DensityName, Density, none.Density),
            Seed = Kept(SeedName, Seed, none.Seed),
            Rank = Kept(RankName, Rank, none.Rank),
            Factors = Kept(FactorsName, Factors, none.Factors),
            Lambda = Kept(LambdaName, Lambda, none.Lambda),
            TopK = Kept(TopKName, TopK, none.TopK),
            Temperature = Kept(TemperatureName, Temperature, none.Temperature),
        };
    }

    private IEnumerable<string> NotDefault()
    {
        var none = new MergeOptions();
        return new (bool Differs, string Option)[]
        {
            (Weights.Count > 0, WeightsName), (Density != none.Density, DensityName), (Seed != none.Seed, SeedName),
            (Rank is not null, RankName), (Factors, FactorsName), (Lambda != none.Lambda, LambdaName), (
                TopK != none.TopK, TopKName),
            (Temperature != none.Temperature, TemperatureName),
        }.Where(option => option.Differs).Select(option => option.Option);
    }

    /// <summary>Weight of an adapter.</summary>
    public double WeightOf(int adapter) => Weights.Count == 0 ? 1 : Weights[adapter];
}
