using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Adapters.Lora;

/// <summary>One projection that gets an adapter.</summary>
/// <param name="Path">Module path, e.g. <c>model.layers.0.self_attn.q_proj</c>.</param>
/// <param name="R">Rank of each expert here.</param>
/// <param name="Alpha">Numerator of the scale here.</param>
public sealed record SelectedModule(string Path, int R, double Alpha);

/// <summary>Chooses the projections to wrap, by the rules of Hugging Face PEFT.</summary>
/// <remarks>
/// Source: huggingface/peft 5d602fd, <c>check_target_module_exists</c> and <c>get_pattern_key</c>.
/// Excluded modules go first; a list matches exact paths or tails; <c>layers_to_transform</c> narrows lists only, and
/// never a module that is named by its whole path; a string must match the whole path.
/// </remarks>
public static class TargetSelection
{
    /// <summary>What precedes a key in messages about a recipe.</summary>
    internal const string RecipePlace = "adapter.";

    /// <summary>The chosen modules in the order given.</summary>
    /// <param name="paths">Every projection of the model.</param>
    /// <param name="head">The output embedding, which <c>all-linear</c> leaves out; null where the model has
    /// none.</param>
    /// <param name="options">What the user asked for.</param>
    /// <param name="strict">Also refuse a list in which one name of several matches nothing (a typing mistake in a
    /// recipe).</param>
    /// <param name="place">What precedes the key in messages: the recipe's section, or a file.</param>
    /// <exception cref="UserException">Nothing matches; the message names the projections there are.</exception>
    public static IReadOnlyList<SelectedModule> Select(
        IEnumerable<string> paths, string? head, AdapterOptions options, bool strict = true, string place = RecipePlace)
    {
        var all = paths.ToList();
        var selected = all.Where(path => IsTarget(path, head, options)).ToList();
        if (strict)
        {
            var faults = new Faults();
            new SelectorCheck(faults, place, all, head, selected, options).Run();
            faults.ThrowIfAny("the recipe's adapter section");
        }

        if (selected.Count == 0)
            throw NothingMatches(place, all, options);
        return [
            .. selected.Select(path => new SelectedModule(path, RankOf(options, path), AlphaOf(options, path)))];
    }

    /// <summary>Every projection of a model, and its embeddings where the options name them.</summary>
    internal static IEnumerable<string> PathsOf(CausalLanguageModel model, AdapterOptions options)
    {
        var paths = model.Projections.Select(projection => projection.Path);
        var table = model.Embedding.Path;
        return options.TargetModules.IsAllLinear || !IsTarget(table, head: null, options)
            ? paths : paths.Append(table);
    }

    /// <summary>Those of some paths that the options choose; nothing is refused.</summary>
    internal static IEnumerable<string> Targeted(IEnumerable<string> paths, string? head, AdapterOptions options) =>
        paths.Where(path => IsTarget(path, head, options));

    /// <summary>The rank of each expert in a module that is adapted.</summary>
    public static int RankOf(AdapterOptions options, string path) => ByPattern(options.RankPattern, path, options.R);

    /// <summary>The alpha of a module that is adapted.</summary>
    public static double AlphaOf(AdapterOptions options, string path) =>
        ByPattern(options.AlphaPattern, path, options.LoraAlpha);

    /// <summary>
    /// The target list that a saved configuration holds: <c>all-linear</c> becomes the list of names that, with the
    /// same layers and exclusions, chooses the same modules (whole paths where no such list does).
    /// </summary>
    public static ModuleNames Resolved(IEnumerable<string> paths, string? head, AdapterOptions options)
    {
        if (!options.TargetModules.IsAllLinear)
            return options.TargetModules;
        var all = paths.ToList();
        var selected = all.Where(path => IsTarget(path, head, options)).ToList();
        var names = selected.Select(LastName).Distinct().Order(StringComparer.Ordinal).ToList();
        var byName = options with { TargetModules = ModuleNames.List(names) };
        return all.Where(path => IsTarget(path, head, byName)).SequenceEqual(selected)
            ? byName.TargetModules
            : ModuleNames.List(selected);
    }

    private static bool IsTarget(string path, string? head, AdapterOptions options)
    {
        if (!options.ExcludeModules.IsEmpty && options.ExcludeModules.Matches(path))
            return false;
        var targets = options.TargetModules;
        if (targets.IsAllLinear)
            return path != head && IsInLayers(path, options);
        if (targets.Pattern is not null)
            return targets.Matches(path);
        return targets.Names.Contains(path) || (targets.Matches(path) && IsInLayers(path, options));
    }

    /// <summary>The layer that a projection belongs to; null outside the layers.</summary>
    public static int? LayerOf(string path) => ModulePattern.LayerOf(path);

    /// <summary>The attention block that a projection belongs to; null for others.</summary>
    public static string? AttentionBlockOf(string path)
    {
        var end = path.LastIndexOf('.');
        return end > 0 && (path[..end].EndsWith("attn", StringComparison.Ordinal)
            || path[..end].EndsWith("attention", StringComparison.Ordinal)) ? path[..end] : null;
    }

    private static bool IsInLayers(string path, AdapterOptions options)
    {
        if (options.LayersToTransform.Count == 0)
            return true;
        var layer = options.LayersPattern.Count == 0
            ? LayerOf(path)
            : options.LayersPattern.Select(name => ModulePattern.LayerAfter(name, path))
                .FirstOrDefault(found => found is not null);
        return layer is { } number && options.LayersToTransform.Contains(number);
    }

    private static T ByPattern<T>(IReadOnlyList<KeyValuePair<string, T>> patterns, string path, T fallback)
    {
        foreach (var (pattern, value) in patterns)
        {
            if (ModulePattern.MatchesEnd(pattern, path))
                return value;
        }
        return fallback;
    }

    private static UserException NothingMatches(string place, List<string> all, AdapterOptions options)
    {
        var known = all.Select(LastName).Distinct().ToList();
        var layers = options.LayersToTransform.Count > 0
            ? $" in layers {string.Join(", ", options.LayersToTransform)}"
            : "";
        return UserException.At(
            $"{place}target_modules", $"{options.TargetModules}{layers} matches no projection",
            $"some of {string.Join(", ", known)} ({Words.Count(all.Count, "projection")} in all)",
            "choose among them, or write all-linear");
    }

    /// <summary>The last name of a path.</summary>
    internal static string LastName(string path) => path[(path.LastIndexOf('.') + 1)..];
}

/// <summary>
/// One rule for every selector of a recipe's adapter: each name, pattern and number must select something, or it is
/// refused with the nearest name. Files of PEFT are read as PEFT reads them, without this.
/// </summary>
internal sealed class SelectorCheck(
    Faults faults, string place, List<string> all, string? head, List<string> selected, AdapterOptions options)
{
    /// <summary>Notes every selector that selects nothing.</summary>
    public void Run()
    {
        foreach (
            var name in options.TargetModules.Names.Where(
                name => !selected.Exists(path => ModulePattern.IsNamed(name, path))))
        {
            if (all.Exists(path => ModulePattern.IsNamed(name, path)))
                Note("target_modules", $"{Quote.Of(name)} is left out by exclude_modules or layers_to_transform",
                    "a module that is adapted");
            else
                Idle("target_modules", name, all, "projection");
        }

        foreach (
            var name in options.ExcludeModules.Names.Where(
                name => !all.Exists(path => ModulePattern.IsNamed(name, path))))
            Idle("exclude_modules", name, all, "projection");
        CheckExclusions();
        if (options.TargetModules is { Pattern: { } targets, IsAllLinear: false }
            && !all.Exists(options.TargetModules.Matches))
            Idle("target_modules", targets, all, "whole path of a projection");
        if (options.ExcludeModules is { Pattern: { } excluded } && !all.Exists(options.ExcludeModules.Matches))
            Idle("exclude_modules", excluded, all, "whole path of a projection");
        foreach (
            var name in options.LayersPattern.Where(
                name => !all.Exists(path => ModulePattern.LayerAfter(name, path) is not null)))
            Note("layers_pattern", $"{Quote.Of(name)} matches no list of layers", $"a name as in {all[0]}");
        CheckLayers("layers_to_transform", options.LayersToTransform);
        CheckLayers("experts.layers", options.Experts.Layers);
        CheckPatterns("rank_pattern", [.. options.RankPattern.Select(pair => pair.Key)]);
        CheckPatterns("alpha_pattern", [.. options.AlphaPattern.Select(pair => pair.Key)]);
    }

    // What target_modules does not choose need not be left out.
    private void CheckExclusions()
    {
        var chosen = TargetSelection.Targeted(all, head, options with { ExcludeModules = ModuleNames.None }).ToList();
        var excluded = options.ExcludeModules;
        var idle = excluded.Pattern is { } pattern
            ? all.Exists(excluded.Matches) && !chosen.Exists(excluded.Matches) ? [pattern] : []
            : excluded.Names.Where(name => all.Exists(path => ModulePattern.IsNamed(name, path))
                && !chosen.Exists(path => ModulePattern.IsNamed(name, path)));
        foreach (var name in idle)
            Note("exclude_modules", $"{Quote.Of(name)} leaves nothing out: target_modules does not choose it", null,
                "remove it");
    }

    private void CheckLayers(string key, IReadOnlyList<int> layers)
    {
        var adapted = selected.Select(TargetSelection.LayerOf).OfType<int>().ToHashSet();
        var last = all.Select(TargetSelection.LayerOf).Max();
        foreach (var layer in layers.Distinct().Where(layer => !adapted.Contains(layer)))
        {
            if (layer < 0 || layer > last)
                Note(key, $"layer {layer}", $"layers from 0 to {last}");
            else
                Note(key, $"layer {layer} has no adapted projection", "a layer with one");
        }
    }

    // The first pattern that matches counts: one behind another that matches the same modules does nothing.
    private void CheckPatterns(string key, IReadOnlyList<string> patterns)
    {
        foreach (var (i, pattern) in patterns.Index())
        {
            var matched = selected.Where(path => ModulePattern.MatchesEnd(pattern, path)).ToList();
            if (matched.Count == 0)
                Idle(key, pattern, selected, "adapted projection");
            else if (
                matched.TrueForAll(path => patterns.Take(i).Any(earlier => ModulePattern.MatchesEnd(earlier, path))))
            {
                var earlier = patterns.First(other => ModulePattern.MatchesEnd(other, matched[0]));
                Note(key, $"{Quote.Of(pattern)} has no effect behind {Quote.Of(earlier)}, which matches first", null,
                    "put it first");
            }
        }
    }

    private void Idle(string key, string name, List<string> candidates, string what)
    {
        var tails = candidates.SelectMany(Tails).Distinct().ToList();
        var near = NearestName.Of(name.Trim('^', '$', '.', '*', '\\', '(', ')', '?'), tails);
        Note(
            key, $"{Quote.Of(name)} matches no {what}",
            $"some of {string.Join(", ", tails.Where(tail => !tail.Contains('.', StringComparison.Ordinal)))}",
            near is null
                ? null
                : near == name
                ? $"a text must match the whole path: write [{name}] for a list"
                : $"did you mean {near}?");
    }

    private void Note(string key, string found, string? expected, string? advice = null) =>
        faults.Add(place + key, found, expected, advice);

    // q_proj, self_attn.q_proj, ... up to the whole path; without the layers' numbers there are few.
    private static IEnumerable<string> Tails(string path)
    {
        for (var dot = path.LastIndexOf('.'); dot >= 0; dot = dot == 0 ? -1 : path.LastIndexOf('.', dot - 1))
            yield return path[(dot + 1)..];
        yield return path;
    }
}

/// <summary>Modules by Hugging Face PEFT's rules: a list of names, a regular expression, or
/// <c>all-linear</c>.</summary>
public sealed record ModuleNames : IKeyValue<ModuleNames>
{
    private const string AllLinearText = "all-linear";

    private ModuleNames(IReadOnlyList<string> names, string? pattern)
    {
        Names = names;
        Pattern = pattern;
    }

    /// <summary>Every linear projection except the output embedding.</summary>
    public static ModuleNames AllLinear { get; } = new([], AllLinearText);

    /// <summary>No module at all.</summary>
    public static ModuleNames None { get; } = new([], null);

    /// <summary>The names of a list; empty where a pattern was given.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The regular expression (must match the whole path) or <c>all-linear</c>; null where a list was
    /// given.</summary>
    public string? Pattern { get; }

    /// <summary>Whether this is <c>all-linear</c>, in any case.</summary>
    public bool IsAllLinear => string.Equals(Pattern, AllLinearText, StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether nothing is named.</summary>
    public bool IsEmpty => Pattern is null && Names.Count == 0;

    /// <summary>Modules by exact path or by the end of the path (<c>q_proj</c> matches
    /// <c>….self_attn.q_proj</c>).</summary>
    public static ModuleNames List(IEnumerable<string> names) => new([.. names], null);

    /// <summary>Modules whose whole path matches a regular expression; <c>all-linear</c> is read as
    /// <see cref="AllLinear"/>.</summary>
    public static ModuleNames Matching(string pattern) => new([], pattern);

    /// <summary>Reads a key that may hold a list or one string, as PEFT reads it.</summary>
    public static ModuleNames Read(OptionReader reader, string key, ModuleNames fallback)
    {
        if (reader.Node(key) is ConfigScalar { IsNull: false })
        {
            var pattern = reader.Text(key, fallback.Pattern ?? "");
            if (!ModulePattern.IsValid(pattern))
                reader.Fault(
                    key, Quote.Of(pattern), "a list of names, all-linear, or a regular expression",
                    "list the modules by name");
            return Matching(pattern);
        }
        if (!reader.Has(key) && fallback.Pattern is not null)
            return Matching(reader.Text(key, fallback.Pattern));
        var names = reader.Texts(key, fallback.Names);
        return names.Count == 0 ? None : List(names);
    }

    /// <summary>Whether a path is named; <c>all-linear</c> names every path.</summary>
    public bool Matches(string path) =>
        IsAllLinear
        || (Pattern is not null
            ? ModulePattern.MatchesWhole(Pattern, path)
            : Names.Any(name => ModulePattern.IsNamed(name, path)));

    /// <summary>The list or string, as JSON holds it.</summary>
    public JsonNode? ToJson() =>
        Pattern is not null
            ? JsonValue.Create(Pattern)
            : new JsonArray([.. Names.Select(name => (JsonNode)JsonValue.Create(name)!)]);

    /// <inheritdoc/>
    public override string ToString() => Pattern ?? $"[{string.Join(", ", Names)}]";
}
