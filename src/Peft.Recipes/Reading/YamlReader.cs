using System.Text;
using Peft.Formats;
using Peft.Formats.Configuration;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using Scalar = YamlDotNet.Core.Events.Scalar;

namespace Peft.Recipes.Reading;

/// <summary>YAML text to the configuration tree, positions kept. Only plain data: no tags, no aliases, each key once.</summary>
/// <remarks>Reads the parser's events, not its documents: those would multiply aliases and recurse without a limit.</remarks>
public static class YamlReader
{
    private const int MaxBytes = 4 << 20;
    private const int MaxDepth = 64;

    /// <summary>Reads a recipe file.</summary>
    /// <exception cref="UserException">The file is missing, not YAML, or not a mapping.</exception>
    public static ConfigMap ReadFile(string path)
    {
        if (Directory.Exists(path))
            throw UserException.At(path, "is a directory", "a recipe file, such as recipes/default.yaml");
        if (!File.Exists(path))
            throw UserException.At(path, "no such file", "a recipe file, such as recipes/default.yaml", RecipePaths.Nearest(path));
        if (new FileInfo(path).Length > MaxBytes)
            throw UserException.At(path, $"larger than {MaxBytes >> 20} MB", "a recipe, which is a short YAML file");
        try
        {
            return Parse(File.ReadAllText(path, new UTF8Encoding(false, throwOnInvalidBytes: true)), path);
        }
        catch (DecoderFallbackException e)
        {
            throw UserException.At(path, "not a text in UTF-8", null, "save it as UTF-8", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw UserException.At(path, $"cannot be read ({e.Message})", null, "check its permissions", e);
        }
    }

    /// <summary>Parses one YAML document.</summary>
    /// <exception cref="UserException">The text is not YAML, or more than plain data.</exception>
    public static ConfigMap Parse(string text, string source)
    {
        // The parser would take it for the end and pass over what follows.
        var nul = text.IndexOf('\0', StringComparison.Ordinal);
        if (nul >= 0)
            throw UserException.At($"{source} line {text.AsSpan(0, nul).Count('\n') + 1}", "the character NUL", "text in YAML");
        var parser = new Parser(new StringReader(text));
        try
        {
            parser.Consume<StreamStart>();
            if (parser.TryConsume<StreamEnd>(out _))
                return ConfigMap.Empty(source);
            parser.Consume<DocumentStart>();
            var root = ReadNode(parser, source, 0, null);
            parser.Consume<DocumentEnd>();
            if (!parser.TryConsume<StreamEnd>(out _))
                throw Refused(source, parser.Current!, "a second document begins", "one YAML document");
            return root as ConfigMap
                ?? throw UserException.At(source, "no keys", "sections such as model:, adapter:, data: and training:");
        }
        catch (YamlException e)
        {
            throw UserException.At(
                $"{source} line {e.Start.Line}", $"not valid YAML ({e.Message.TrimEnd('.')})", null, AdviceFor(text, e), e);
        }
        catch (InvalidOperationException e)
        {
            // The scanner's own, where a bracket is left open before another key.
            throw UserException.At(
                $"{source} line {parser.Current?.Start.Line ?? 1} or after", "not valid YAML", null, "close every bracket and quote", e);
        }
        catch (ArgumentOutOfRangeException e)
        {
            // The scanner's own, on an escape such as \ud83d without its second half.
            throw UserException.At(
                $"{source} line {parser.Current?.Start.Line ?? 1} or after",
                "not valid YAML (an escape \\uD800 to \\uDFFF is half a character)", null, "write both halves, or the character itself", e);
        }
    }

    // keyLine: a value under a key is reported at the key's line.
    private static ConfigNode ReadNode(IParser parser, string source, int depth, int? keyLine)
    {
        var start = parser.Consume<ParsingEvent>();
        var line = keyLine ?? LineOf(start);
        if (depth > MaxDepth)
            throw Refused(source, start, "too deeply nested", $"at most {MaxDepth} levels");
        if (start is AnchorAlias alias)
            throw Refused(source, start, $"the alias *{alias.Value}", "plain values", "write the value out");
        if (start is NodeEvent { Tag.IsEmpty: false } tagged)
            throw Refused(source, start, $"the tag {Quote.Of(tagged.Tag.ToString())}", "plain values", "write the value without the tag");
        RefuseNul(start, source);
        return start switch
        {
            Scalar scalar => new ConfigScalar(source, line, scalar.Value, isQuoted: scalar.Style != ScalarStyle.Plain),
            SequenceStart => new ConfigList(source, line, ReadItems(parser, source, depth)),
            MappingStart => new ConfigMap(source, line, ReadEntries(parser, source, depth)),
            _ => throw Refused(source, start, "no value here", "a value"),
        };
    }

    private static List<ConfigNode> ReadItems(IParser parser, string source, int depth)
    {
        var items = new List<ConfigNode>();
        while (!parser.TryConsume<SequenceEnd>(out _))
            items.Add(ReadNode(parser, source, depth + 1, null));
        return items;
    }

    private static List<KeyValuePair<string, ConfigNode>> ReadEntries(IParser parser, string source, int depth)
    {
        var entries = new List<KeyValuePair<string, ConfigNode>>();
        var lines = new Dictionary<string, int>(StringComparer.Ordinal);
        while (!parser.TryConsume<MappingEnd>(out _))
        {
            var start = parser.Consume<ParsingEvent>();
            if (start is not Scalar { Tag.IsEmpty: true } key)
                throw Refused(source, start, "a key that is not plain text", "a name");
            RefuseNul(start, source);
            var line = LineOf(start);
            if (!lines.TryAdd(key.Value, line))
                throw Refused(
                    source, start, $"key {Quote.Of(key.Value)} again (first on line {lines[key.Value]})", "each key once",
                    "remove one of the two");
            entries.Add(KeyValuePair.Create(key.Value, ReadNode(parser, source, depth + 1, line)));
        }
        return entries;
    }

    // No name of a file holds it, and no text needs it.
    private static void RefuseNul(ParsingEvent at, string source)
    {
        if (at is Scalar { Value: var text } && text.Contains('\0', StringComparison.Ordinal))
            throw Refused(source, at, "a text with the character NUL", null, "remove it");
    }

    private static int LineOf(ParsingEvent at) => (int)at.Start.Line;

    private static UserException Refused(
        string source, ParsingEvent at, string found, string? expected = null, string? advice = null) =>
        UserException.At($"{source} line {LineOf(at)}", found, expected, advice);

    // The scanner's own words do not tell what to do about a tab.
    private static string? AdviceFor(string text, YamlException error)
    {
        var lines = text.Split('\n');
        var near = lines.Skip((int)Math.Max(0, error.Start.Line - 1)).Take(2);
        return near.Any(line => line[..^line.TrimStart().Length].Contains('\t', StringComparison.Ordinal))
            ? "indent with spaces; YAML allows no tabs there"
            : null;
    }
}
