using Peft.Adapters.Bundles;
using Peft.Formats;
using Peft.Models.Loading;

namespace Peft.Adapters.Merging;

/// <summary>What must hold before adapters are merged; nothing is read but headers and, where asked, FlyLoRA's
/// projections.</summary>
internal static class MergeChecks
{
    /// <summary>Refuses what cannot be merged.</summary>
    /// <returns>The base that all of them share; null where none of them has a fingerprint.</returns>
    /// <exception cref="UserException">With what was found and what to do.</exception>
    public static BaseIdentity? Require(IReadOnlyList<MergeSource> sources, MergeMethod method, MergeOptions options)
    {
        if (sources.Count < 2)
            throw UserException.At(
                "peft merge", sources.Count == 1 ? $"only {sources[0].Name}" : "no adapter", "at least two adapters");
        foreach (var group in sources.GroupBy(source => source.Name).Where(group => group.Count() > 1))
            throw UserException.At(
                "peft merge",
                $"{Quote.Of(group.Key)} names "
                    + $"{Words.AllOf([.. group.Select(source => source.Directory).Distinct()])}",
                "one name for each adapter", "write NAME=DIR for one of them");
        if (options.Weights.Count > 0 && options.Weights.Count != sources.Count)
            throw UserException.At(
                "--weights", Words.Count(options.Weights.Count, "number"),
                $"one for each of {Words.AllOf([.. sources.Select(source => source.Name)])}");
        var faults = new Faults();
        options.NoteUnused(faults, method);
        if (method is RoutedMerge && options.TopK > sources.Count && options.TopK != new MergeOptions().TopK)
            faults.Add(
                MergeOptions.TopKName, $"{options.TopK}",
                $"a whole number from 1 to {sources.Count}, one expert an adapter");
        faults.ThrowIfAny("peft merge");
        var found = RequireOneBase(sources);
        RequireShapes(sources);
        if (method is StaticMerge merge && merge.JoinsFactors(options))
            RequireEqualRanks(sources, method);
        RequireFlyLora(sources, method, options);
        if (method is StaticMerge { SearchesWeights: true } && options is { Weights.Count: 0, Found.Count: 0 })
            throw UserException.At(
                $"peft merge --method {method.Name}", "no examples to search weights on",
                "a recipe whose training rows are tried, or weights",
                "add --recipe FILE, or --weights with one number for each adapter");
        if (method is RoutedMerge routed)
        {
            RequireVectors(sources, routed);
            RequireTasks(sources, routed, options);
        }

        return found;
    }

    private static BaseIdentity? RequireOneBase(IReadOnlyList<MergeSource> sources)
    {
        var known = sources.Where(source => source.Base is not null).ToList();
        foreach (var other in known.Skip(1).Where(source => source.Base!.Fingerprint != known[0].Base!.Fingerprint))
            throw UserException.At(
                "peft merge", $"{known[0].Name} was trained on {Describe(known[0])}, {other.Name} on {Describe(other)}",
                "adapters of one base");
        return known.Count == 0 ? null : known[0].Base;
    }

    private static string Describe(MergeSource source) =>
        $"{source.Base!.Name} (fingerprint {CheckpointFingerprint.Short(source.Base.Fingerprint)})";

    private static void RequireShapes(IReadOnlyList<MergeSource> sources)
    {
        var faults = new Faults();
        var first = new Dictionary<string, (MergeSource Source, ModuleSource Module)>(StringComparer.Ordinal);
        foreach (var source in sources)
        {
            foreach (var module in source.Modules.Values)
            {
                if (!first.TryAdd(module.Path, (source, module)) && first[module.Path] is var (owner, one)
                    && (one.In, one.Out) != (module.In, module.Out))
                    faults.Add(
                        module.Path, $"{module.In} to {module.Out} in {source.Name}",
                        $"{one.In} to {one.Out} as in {owner.Name}", "they belong to different models");
            }
        }
        faults.ThrowIfAny("peft merge");
        var strangers = sources.Skip(1)
            .FirstOrDefault(
                source =>
                    !source.Modules.Keys.Any(
                        path => sources.Any(other => other != source && other.Modules.ContainsKey(path))));
        if (strangers is { Base: null } && !sources[0].Modules.Keys.Any(strangers.Modules.ContainsKey))
            throw UserException.At(
                "peft merge",
                $"no module in common: {strangers.Name} adapts {strangers.Modules.Keys.First()}, {sources[0].Name} "
                    + $"{sources[0].Modules.Keys.First()}",
                "adapters of one base");
    }

    private static void RequireEqualRanks(IReadOnlyList<MergeSource> sources, MergeMethod method)
    {
        var faults = new Faults();
        foreach (var path in sources.SelectMany(source => source.Modules.Keys).Distinct())
        {
            var ranks = sources.Where(source => source.Modules.ContainsKey(path))
                .Select(source => (source.Name, source.Modules[path].Rank)).ToList();
            if (ranks.Any(pair => pair.Rank != ranks[0].Rank))
                faults.Add(
                    path, string.Join(", ", ranks.Select(pair => $"{pair.Name} r = {pair.Rank}")),
                    "equal ranks, since A and B are merged apart",
                    method is LoraHubMerge ? $"use --method {new LoraHubUpdatesMerge().Name}" : null);
        }
        faults.ThrowIfAny($"peft merge --method {method.Name}");
    }

    private static void RequireTasks(
        IReadOnlyList<MergeSource> sources, RoutedMerge method, MergeOptions options)
    {
        if (!method.GoesByTask)
            return;
        var faults = new Faults();
        var widths = new List<(string Name, int Width)>();
        if (options.Query.Count > 0)
            widths.Add((MergeOptions.QueryName, options.Query.Count));
        foreach (var source in sources)
        {
            if (source.Task is not { } task)
                faults.Add(
                    source.Directory, "no description of its task",
                    $"what --method {method.Name} routes {source.Name} by",
                    $"describe it: peft gate --adapter {source.Directory} --keep --describe TEXT");
            else if (task.IsGiven && options.Query.Count == 0)
                faults.Add(
                    source.Directory, $"the vector of {source.Name}'s task was given, and the base embeds prompts",
                    $"{MergeOptions.QueryName} with a vector of the same origin",
                    "or let the base embed the description: peft gate --keep --describe TEXT");
            else
                widths.Add((source.Name, task.Vector.Count));
        }
        faults.ThrowIfAny("peft merge");
        if (widths.FirstOrDefault(one => one.Width != widths[0].Width) is { Name: not null } other)
            throw UserException.At(
                "peft merge", $"the vector of {other.Name} has {other.Width} numbers, that of {widths[0].Name} "
                    + $"{widths[0].Width}", "vectors of one origin");
    }

    private static void RequireVectors(IReadOnlyList<MergeSource> sources, RoutedMerge method)
    {
        if (method.VectorKind is not { } kind)
            return;
        var faults = new Faults();
        foreach (var source in sources)
        {
            var vectors = source.Vectors(kind);
            var what = kind == GateVectors.Gate ? "no gate" : "no mean inputs";
            if (vectors is null)
                faults.Add(
                    source.Directory, what, $"what --method {method.Name} routes {source.Name} by",
                    $"train it: peft gate --adapter {source.Directory}");
            else if (source.Modules.Keys.FirstOrDefault(path => !vectors.ContainsKey(path)) is { } missing)
                faults.Add(
                    source.Directory, $"{what} for {missing}", "one for every adapted module",
                    $"train it again: peft gate --adapter {source.Directory}");
        }
        faults.ThrowIfAny("peft merge");
    }

    private static void RequireFlyLora(IReadOnlyList<MergeSource> sources, MergeMethod method, MergeOptions options)
    {
        var flies = sources.Where(source => source.RoutesRanks).ToList();
        if (flies.Count == 0)
            return;
        if (method is RoutedMerge)
            throw UserException.At(
                "peft merge", $"{flies[0].Name} is a FlyLoRA, whose tokens choose among its own ranks",
                "plain LoRAs for a routed merge",
                "add its update with --method average or cat");
        if (method is StaticMerge merge && merge.JoinsFactors(options) && !ShareDown(sources))
            throw UserException.At(
                $"peft merge --method {method.Name}",
                $"{Words.AllOf([.. flies.Select(source => source.Name)])} have frozen projections A of different seeds",
                "the same A, since merging A and B apart would destroy both updates",
                "add the updates with --method average or cat, without --factors");
    }

    /// <summary>Whether every adapter has the same A in every module (FlyLoRAs of one seed).</summary>
    public static bool ShareDown(IReadOnlyList<MergeSource> sources)
    {
        var faults = new Faults();
        foreach (var path in sources[0].Modules.Keys)
        {
            using var scope = torch.NewDisposeScope();
            if (sources[0].Modules[path].Read(faults) is not { } first)
                return false;
            if (sources.Skip(1).Any(source => !source.Modules.TryGetValue(path, out var module)
                || module.Read(faults) is not { } other || !other.Down.shape.SequenceEqual(first.Down.shape)
                    || !other.Down.SameAs(first.Down)))
                return false;
        }
        return true;
    }
}
