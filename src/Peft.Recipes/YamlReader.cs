using Peft.Formats;
using Peft.Formats.Configuration;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Peft.Recipes;

/// <summary>YAML text to the configuration tree, positions kept. Only plain data: no tags, no anchors that grow.</summary>
public static class YamlReader
{
    private const int MaxBytes = 4 << 20;
    private const int MaxDepth = 64;

    /// <summary>Reads a recipe file.</summary>
    /// <exception cref="UserException">The file is missing, not YAML, or not a mapping.</exception>
    public static ConfigMap ReadFile(string path)
    {
        if (!File.Exists(path))
            throw new UserException($"{path}: no such file - a recipe is a YAML file, e.g. recipes/default.yaml");
        if (new FileInfo(path).Length > MaxBytes)
            throw new UserException($"{path}: larger than {MaxBytes >> 20} MB - a recipe is a short YAML file");
        try
        {
            return Parse(File.ReadAllText(path), path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserException($"{path}: cannot be read ({e.Message}) - check its permissions", e);
        }
    }

    /// <summary>Parses one YAML document.</summary>
    public static ConfigMap Parse(string text, string source)
    {
        var yaml = new YamlStream();
        try
        {
            yaml.Load(new StringReader(text));
        }
        catch (YamlException e)
        {
            throw new UserException(
                $"{source} line {e.Start.Line}: not valid YAML ({e.InnerException?.Message ?? e.Message})", e);
        }
        if (yaml.Documents.Count == 0)
            return ConfigMap.Empty(source);
        if (yaml.Documents.Count > 1)
            throw new UserException($"{source}: {yaml.Documents.Count} YAML documents found - a recipe is one document");
        return Convert(yaml.Documents[0].RootNode, source, 0) as ConfigMap
            ?? throw new UserException($"{source}: a recipe is a mapping of sections (model:, adapter:, data:, training:)");
    }

    private static ConfigNode Convert(YamlNode node, string source, int depth)
    {
        var line = (int)node.Start.Line;
        if (depth > MaxDepth)
            throw new UserException($"{source} line {line}: nested deeper than {MaxDepth} levels");
        switch (node)
        {
            case YamlScalarNode scalar:
                var plain = scalar.Style is ScalarStyle.Plain or ScalarStyle.Any;
                return new ConfigScalar(source, line, scalar.Value, isQuoted: !plain);
            case YamlSequenceNode sequence:
                return new ConfigList(source, line, sequence.Children.Select(c => Convert(c, source, depth + 1)));
            case YamlMappingNode mapping:
                return new ConfigMap(source, line, mapping.Children.Select(pair => Entry(pair.Key, pair.Value, source, depth)));
            default:
                throw new UserException($"{source} line {line}: YAML aliases are not supported - write the value out");
        }
    }

    private static KeyValuePair<string, ConfigNode> Entry(YamlNode key, YamlNode value, string source, int depth)
    {
        if (key is not YamlScalarNode { Value: { } name })
            throw new UserException($"{source} line {(int)key.Start.Line}: a key must be plain text");
        var node = Convert(value, source, depth + 1);
        // A value under a key is reported at the key's line.
        var line = (int)key.Start.Line;
        return KeyValuePair.Create(name, node is ConfigScalar scalar
            ? new ConfigScalar(source, line, scalar.Text, scalar.IsQuoted)
            : node);
    }
}
