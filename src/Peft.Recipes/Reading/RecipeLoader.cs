using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Files;

namespace Peft.Recipes.Reading;

/// <summary>A recipe file with what it extends and what the command line overrides, as one tree.</summary>
public static class RecipeLoader
{
    private const int MaxExtends = 8;

    /// <summary>
    /// Reads a recipe: what it <c>extends</c> first, its own keys over that, then each <c>--set a.b=value</c>.
    /// </summary>
    /// <exception cref="UserException">A file cannot be read, extends itself, or an override is malformed.</exception>
    public static ConfigMap Load(string path, IEnumerable<string> overrides)
    {
        var tree = LoadFile(path, []);
        return overrides.Aggregate(tree, Override);
    }

    private static ConfigMap LoadFile(string path, List<string> chain)
    {
        var full = Path.GetFullPath(path);
        if (chain.Contains(full))
            throw UserException.At(path,
                $"extends itself through {string.Join(" -> ", chain.Select(Path.GetFileName))}");
        if (chain.Count >= MaxExtends)
            throw UserException.At(path, $"more than {MaxExtends} levels of extends", null,
                "merge some of the recipes");
        var own = YamlReader.ReadFile(path);
        if (!own.TryGet("extends", out var node))
            return own;
        if (node is not ConfigScalar { Text: { Length: > 0 } parent })
            throw UserException.At($"{path}:{node!.Line}", $"extends is {node.Describe()}",
                "the path of one recipe file");
        own = own.Without("extends");
        var parentPath = Path.Combine(Path.GetDirectoryName(full)!, parent);
        if (!File.Exists(parentPath))
            throw UserException.At(
                $"{path}:{node.Line}", $"extends {Quote.Of(parent)}, and there is no {parentPath}", null,
                MissingPath.Nearest(parent, Path.GetDirectoryName(full)!) is { } near && near != full
                    ? $"did you mean {near}?"
                    : "the path is relative to the recipe's folder");
        return Merge(LoadFile(parentPath, [.. chain, full]), own);
    }

    // Mappings merge key by key; everything else (lists too) is replaced whole, so that a reader need not guess.
    private static ConfigMap Merge(ConfigMap below, ConfigMap above)
    {
        var kept = below.Entries.Select(entry => KeyValuePair.Create(entry.Key, above[entry.Key] switch
        {
            null => entry.Value,
            ConfigMap upper when entry.Value is ConfigMap lower => Merge(lower, upper),
            var value => value,
        }));
        return new ConfigMap(above.Source, above.Line,
            kept.Concat(above.Entries.Where(entry => below[entry.Key] is null)));
    }

    private static ConfigMap Override(ConfigMap tree, string setting)
    {
        var equals = setting.IndexOf('=', StringComparison.Ordinal);
        var source = $"--set {setting}";
        if (equals <= 0)
            throw UserException.At(source, "not an override", "a.b=value, such as --set training.max_steps=100");
        var keys = setting[..equals].Split('.');
        if (keys.Any(string.IsNullOrWhiteSpace))
            throw UserException.At(source, "an empty name between the dots", "a.b=value");
        if (setting.AsSpan().IndexOfAny('\r', '\n') >= 0)
            throw UserException.At(source, "a value of several lines", "one line of YAML");
        if (string.IsNullOrWhiteSpace(setting[(equals + 1)..]))
            throw UserException.At(source, "no value", "a value, or null for the default");
        var value = YamlReader.Parse($"value: {setting[(equals + 1)..]}", source)["value"]!;
        return Set(tree, keys, WithoutLines(value), source);
    }

    // An override is one line; naming it tells nothing.
    private static ConfigNode WithoutLines(ConfigNode node) => node switch
    {
        ConfigMap map =>
            new ConfigMap(map.Source, 0,
            map.Entries.Select(entry => KeyValuePair.Create(entry.Key, WithoutLines(entry.Value)))),
        ConfigList list => new ConfigList(list.Source, 0, list.Items.Select(WithoutLines)),
        ConfigScalar scalar => new ConfigScalar(scalar.Source, 0, scalar.Text, scalar.IsQuoted),
        _ => node,
    };

    private static ConfigMap Set(ConfigMap map, ReadOnlySpan<string> keys, ConfigNode value, string source)
    {
        if (keys.Length == 1)
            return map.With(keys[0], value);
        var below = map[keys[0]] switch
        {
            null or ConfigScalar { IsNull: true } => ConfigMap.Empty(source),
            ConfigMap section => section,
            ConfigList => throw UserException.At(
                source, $"{Quote.Of(keys[0])} is a list of the recipe, of which no single entry can be set",
                "the whole list as a value of this key", "data sets by name: --set data.only=[NAME]"),
            _ => throw UserException.At(source,
                $"{Quote.Of(keys[0])} is not a section of the recipe, so nothing can be set in it"),
        };
        return map.With(keys[0], Set(below, keys[1..], value, source));
    }
}
