using System.Globalization;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Merging;

/// <summary>Merges adapters that were trained apart into one bundle.</summary>
/// <remarks>
/// Module by module, as the file is written: memory is that of one module of every adapter, and of one dense update for
/// the methods that need it. In the result every scale is 1: what an adapter's alpha said is in its factors.
/// </remarks>
public static class AdapterMerge
{
    /// <summary>Merges into a directory; when anything is wrong with the adapters nothing is written.</summary>
    /// <param name="sources">The adapters, in order.</param>
    /// <param name="method">How.</param>
    /// <param name="options">With which settings.</param>
    /// <param name="given">The base, where no adapter has its fingerprint; null otherwise.</param>
    /// <param name="output">The bundle's directory.</param>
    /// <exception cref="UserException">The adapters do not fit together, or one of them is damaged.</exception>
    public static MergeReport Run(
        IReadOnlyList<MergeSource> sources, MergeMethod method, MergeOptions options, Func<BaseIdentity>? given,
        string output)
    {
        var found = MergeChecks.Require(sources, method, options);
        var identity = found ?? given?.Invoke() ?? throw UserException.At(
                "peft merge",
                $"{Words.AllOf([.. sources.Select(source => source.Name)])} name no base with a fingerprint", null,
                "name it with --base DIR");
        using var off = torch.no_grad();
        using var work = Work(sources, method, options);
        var templates = Templates(sources);
        var adapter = MergedOptions.Of(sources, method, options, work.Modules);
        var manifest = new BundleManifest
        {
            Adapter = adapter,
            Base = identity,
            Seed = options.Seed,
            Versions = BundleContents.OwnVersions,
            TrainableParameters = work.TrainableParameters,
            Merge = new MergeRecord
            {
                Method = method.Name,
                Settings = Settings(sources, method, options),
                Adapters = [
                    .. sources.Select(
                        (source, i) => new MergedAdapter(source.Name, source.Hash(), options.WeightOf(i)))],
            },
        };
        BundleWriter.Write(
            output, manifest,
            // As PEFT's add_weighted_adapter keeps it; what is added is the same, only its base lies transposed.
            PeftConfig.ToJson(
                adapter, work.Modules.Select(module => module.Path), null, identity.Name,
                sources.Any(source => source.FanInFanOut)),
            work.Tensors(), templates.Count == 1 ? templates[0].Text : null);
        return work.Report(Notes(sources, method, templates));
    }

    private static MergeWork Work(IReadOnlyList<MergeSource> sources, MergeMethod method, MergeOptions options) =>
        method is RoutedMerge routed
            ? new RoutedWork(sources, routed, options)
            : new StaticWork(sources, (StaticMerge)method, options);

    private static List<KeyValuePair<string, string>> Settings(
        IReadOnlyList<MergeSource> sources, MergeMethod method, MergeOptions options)
    {
        var settings = new List<KeyValuePair<string, string>>();
        void Add(string name, FormattableString value) =>
            settings.Add(KeyValuePair.Create(name, value.ToString(CultureInfo.InvariantCulture)));
        var used = method.Uses(options);
        if (options.Factors)
            Add("factors", $"true");
        if (used.Contains(MergeOptions.DensityName))
            Add("density", $"{method.DensityOf(options)}");
        if (used.Contains(MergeOptions.SeedName))
            Add("seed", $"{options.Seed}");
        if (used.Contains(MergeOptions.LambdaName))
            Add("lambda", $"{options.Lambda}");
        if (used.Contains(MergeOptions.ExamplesName))
            Add("examples", $"{options.Examples}");
        if (used.Contains(MergeOptions.StepsName))
            Add("steps", $"{options.Steps}");
        if (used.Contains(MergeOptions.CommonName))
            Add("common", $"{options.Common}");
        if (options.Rank is { } rank)
            Add("rank", $"{rank}");
        if (used.Contains(MergeOptions.AlphaName))
            Add("alpha", $"{options.Alpha}");
        if (method is RoutedMerge { GoesByTask: true })
            settings.AddRange(sources.Select(
                source => KeyValuePair.Create(TaskEmbedding.SettingOf(source.Name), source.Task!.Text)));
        return settings;
    }

    // Each chat template that adapters remember, with the first that does.
    private static List<(string Text, string Adapter)> Templates(IReadOnlyList<MergeSource> sources) =>
    [
        .. from source in sources
           let text = BundleFiles.ChatTemplateOf(source.Directory)
           where text is not null
           group source.Name by text into same
           select (same.Key, same.First()),
    ];

    private static List<string> Notes(
        IReadOnlyList<MergeSource> sources, MergeMethod method, List<(string Text, string Adapter)> templates)
    {
        var notes = new List<string>();
        if (sources.All(source => source.RoutesRanks) && method is StaticMerge)
        {
            notes.Add(
                "the FlyLoRAs' whole updates B A are added: in the result all ranks work for every token, where each "
                    + "adapter used its strongest");
            if (MergeChecks.ShareDown(sources))
                notes.Add(
                    "their projections A are the same (one seed), so the updates share their directions; the paper "
                        + "merges different seeds");
        }
        if (templates.Count > 1)
        {
            notes.Add(
                $"{Words.AllOf([.. templates.Select(one => one.Adapter)])} were trained with different chat templates; "
                    + "the result remembers none: name one with --chat-template when you use it");
        }
        foreach (var source in sources.Where(source => source.Base is null))
            notes.Add(
                $"{source.Name}: has no fingerprint of its base{(source.BaseName.Length > 0 ? $" "
                    + $"({source.BaseName})" : "")}; its modules and shapes fit");
        return notes;
    }
}

/// <summary>The options that describe a merge's result as if it had been trained.</summary>
internal static class MergedOptions
{
    public static AdapterOptions Of(
        IReadOnlyList<MergeSource> sources, MergeMethod method, MergeOptions options,
        IReadOnlyList<MergedModule> modules)
    {
        // The commonest rank needs no pattern.
        var rank = modules.GroupBy(module => module.Rank).OrderByDescending(group => group.Count())
            .ThenBy(group => group.Key).First().Key;
        var others = modules.Where(module => module.Rank != rank).ToList();
        var merged = Targets(sources, modules) with
        {
            Method = method is RoutedMerge ? AdapterOptions.Mixture : AdapterOptions.Lora,
            R = rank,
            LoraAlpha = rank,
            RankPattern = [.. others.Select(module => KeyValuePair.Create(module.Path, module.Rank))],
            AlphaPattern = [.. others.Select(module => KeyValuePair.Create(module.Path, (double)module.Rank))],
        };
        return method is RoutedMerge routed
            ? merged with
            {
                Experts = new ExpertOptions
                {
                    Count = sources.Count, Names = [.. sources.Select(source => source.Name)], Train = false
                },
                Router = routed.Router(options, Math.Min(options.TopK, sources.Count)),
            }
            : merged;
    }

    // Where all adapters chose the same modules in the same words, these stay; otherwise every module is named.
    private static AdapterOptions Targets(IReadOnlyList<MergeSource> sources, IReadOnlyList<MergedModule> modules)
    {
        var first = sources[0].Adapter;
        return sources.All(source => source.Modules.Count == modules.Count && Words(source.Adapter) == Words(first))
            ? new AdapterOptions
            {
                TargetModules = first.TargetModules,
                ExcludeModules = first.ExcludeModules,
                LayersToTransform = first.LayersToTransform,
                LayersPattern = first.LayersPattern,
            }
            : new AdapterOptions { TargetModules = ModuleNames.List(modules.Select(module => module.Path)) };
    }

    private static string Words(AdapterOptions options) => string.Join(
        '\n', options.TargetModules.ToJson()?.ToJsonString(), options.ExcludeModules.ToJson()?.ToJsonString(),
        string.Join(',', options.LayersToTransform),
        string.Join(',', options.LayersPattern));
}
