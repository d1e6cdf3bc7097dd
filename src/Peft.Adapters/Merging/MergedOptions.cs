using Peft.Adapters.Lora;

namespace Peft.Adapters.Merging;

/// <summary>The options that describe a merge's result as if it had been trained.</summary>
internal static class MergedOptions
{
    public static AdapterOptions Of(
        IReadOnlyList<MergeSource> sources, MergeMethod method, MergeOptions options, IReadOnlyList<MergedModule> modules)
    {
        // The commonest rank needs no pattern.
        var rank = modules.GroupBy(module => module.Rank).OrderByDescending(group => group.Count()).ThenBy(group => group.Key).First().Key;
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
                Experts = new ExpertOptions { Count = sources.Count, Names = [.. sources.Select(source => source.Name)], Train = false },
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
        '\n', options.TargetModules.ToJson()?.ToJsonString(), options.ExcludeModules.ToJson()?.ToJsonString(), string.Join(',', options.LayersToTransform),
        string.Join(',', options.LayersPattern));
}
