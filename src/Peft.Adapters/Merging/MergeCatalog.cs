namespace Peft.Adapters.Merging;

/// <summary>Every way of merging, one line each. Adding one is a file in <c>Methods/</c> and a line here.</summary>
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
