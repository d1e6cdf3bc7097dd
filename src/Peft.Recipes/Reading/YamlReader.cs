using System.Text;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Files;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using Scalar = YamlDotNet.Core.Events.Scalar;

namespace Peft.Recipes.Reading;

/// <summary>YAML text to the configuration tree, positions kept. Only plain data: no tags, no aliases, each key
/// once.</summary>
/// <remarks>Reads the parser's events, not its documents: those would multiply aliases and recurse without a
/// limit.</remarks>
public static class YamlReader
{
    private const int MaxBytes = 4 << 20;
    private const int MaxDepth = 64;
    private static readonly UTF8Encoding Utf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>Reads a recipe file.</summary>
    /// <exception cref="UserException">The file is missing, not YAML, or not a mapping.</exception>
    public static ConfigMap ReadFile(string path)
    {
        try
        {
            return Parse(Utf8.GetString(BoundedFile.ReadAllBytes(path, MaxBytes)).TrimStart('\uFEFF'), path);
        }
        catch (DecoderFallbackException e)
        {
            throw UserException.At(path, "is not text in UTF-8", null, "save it as UTF-8", e);
        }
    }

    /// <summary>Parses one YAML document.</summary>
    /// <exception cref="UserException">The text is not YAML, or more than plain data.</exception>
    public static ConfigMap Parse(string text, string source)
    {
        // The parser would take it for the end and pass over what follows.
        var nul = text.IndexOf('\0', StringComparison.Ordinal);
        if (nul >= 0)
        {
            throw UserException.At(
                Place(source, text.AsSpan(0, nul).Count('\n') + 1), "the character NUL", "text in YAML", "take it out");
        }

        var parser = new ParserWithTexts(new Parser(new StringReader(text)));
        try
        {
            parser.Consume<StreamStart>();
            if (parser.TryConsume<StreamEnd>(out _))
                return ConfigMap.Empty(source);
            parser.Consume<DocumentStart>();
            var root = ReadNode(parser, source, 0, null);
            parser.Consume<DocumentEnd>();
            if (!parser.TryConsume<StreamEnd>(out _))
                throw Refused(
                    source, parser.Current!, "a second document", "one YAML document", "put it into a file of its own");
            if (TabsOf(text, parser.Texts).FirstOrDefault() is { Line: > 0 } tab)
                throw Tab(source, tab);
            return root as ConfigMap
                ?? throw UserException.At(
                    source, root.Describe(), "a mapping of sections (model:, adapter:, data:, training:)");
        }
        catch (YamlException e)
        {
            throw NotYaml(text, source, parser, (int)e.Start.Line, e.Message, e);
        }
        catch (InvalidOperationException e)
        {
            // The scanner's own, where a bracket is left open before another key.
            throw NotYaml(
                text, source, parser, LineAt(parser), "a bracket or quote is not closed on this line or after it", e);
        }
        catch (ArgumentOutOfRangeException e)
        {
            // The scanner's own, on an escape such as \ud83d without its second half.
            throw NotYaml(
                text, source, parser, LineAt(parser),
                "an escape \\uD800 to \\uDFFF, on this line or after it, is half a character", e,
                "write both halves, or the character itself");
        }
        catch (Exception e) when (e is not (UserException or OutOfMemoryException))
        {
            // The library's own of any other kind, such as over a tag that is no URI: it has read no YAML.
            throw NotYaml(text, source, parser, LineAt(parser), e.Message.Split(" (Parameter")[0].TrimEnd('.'), e);
        }
    }

    private static UserException NotYaml(
        string text, string source, ParserWithTexts parser, int line, string reason, Exception inner,
        string? advice = null)
    {
        // Only near the place, unless the parser itself speaks of one: a tab further up was of a text or did no harm.
        var isOfTab = reason.Contains("tab", StringComparison.Ordinal);
        var tabs = TabsOf(text, parser.Texts).Where(tab => isOfTab || Math.Abs(tab.Line - line) <= 1);
        return tabs.FirstOrDefault() is { Line: > 0 } found
            ? Tab(source, found, inner)
            : UserException.At(Place(source, line), $"not valid YAML: {reason}", null, advice, inner);
    }

    // YAML allows no tab before a key, and its readers differ in what they allow elsewhere.
    private static UserException Tab(string source, (int Line, int Column) tab, Exception? inner = null) =>
        UserException.At(
            source.StartsWith("--set ", StringComparison.Ordinal)
                ? source : $"{source}:{tab.Line}:{tab.Column}",
            "a tab in the indentation or between two words", null, "use spaces", inner);

    // Tabs with something behind them on their line, those of texts and comments left out; from 1.
    private static IEnumerable<(int Line, int Column)> TabsOf(string text, IReadOnlyList<(Mark Start, Mark End)> texts)
    {
        var next = 0;
        foreach (var (number, line) in text.Split('\n').Index())
        {
            (int, int) tab = default;
            for (var column = 1; column <= line.Length; column++)
            {
                while (next < texts.Count && !IsBefore(number + 1, column, texts[next].End))
                    next++;
                var isText = next < texts.Count && !IsBefore(number + 1, column, texts[next].Start);
                var c = line[column - 1];
                if (!isText && c == '#' && (column == 1 || char.IsWhiteSpace(line[column - 2])))
                    break;
                if (!isText && c == '\t')
                {
                    tab = tab == default ? (number + 1, column) : tab;
                }
                else if (tab != default && (isText || !char.IsWhiteSpace(c)))
                {
                    yield return tab;
                    break;
                }
            }
        }
    }

    private static bool IsBefore(int line, int column, Mark mark) =>
        line < mark.Line || line == mark.Line && column < mark.Column;

    private static int LineAt(IParser parser) => (int)(parser.Current?.Start.Line ?? 1);

    // An override on the command line is one line; naming it tells nothing.
    private static string Place(string source, int line) =>
        source.StartsWith("--set ", StringComparison.Ordinal) ? source : $"{source}:{line}";

    // keyLine: a value under a key is reported at the key's line.
    private static ConfigNode ReadNode(IParser parser, string source, int depth, int? keyLine)
    {
        var start = parser.Consume<ParsingEvent>();
        var line = keyLine ?? LineOf(start);
        if (depth > MaxDepth)
            throw Refused(source, start, $"nested deeper than {MaxDepth} levels");
        if (start is AnchorAlias alias)
            throw Refused(
                source, start, $"the alias {Quote.Of("*" + alias.Value.Value)} is not supported",
                advice: "write the value out");
        if (start is NodeEvent { Tag.IsEmpty: false } tagged)
            throw Refused(
                source, start, $"the tag {Quote.Of(tagged.Tag.ToString())} is not supported",
                advice: "write the plain value");
        RefuseNul(start, source);
        return start switch
        {
            Scalar scalar => new ConfigScalar(source, line, scalar.Value, isQuoted: scalar.Style != ScalarStyle.Plain),
            SequenceStart => new ConfigList(source, line, ReadItems(parser, source, depth)),
            MappingStart => new ConfigMap(source, line, ReadEntries(parser, source, depth)),
            _ => throw Refused(source, start, "no value", "a value"),
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
                throw Refused(source, start, "a key that is not plain text", "a text");
            RefuseNul(start, source);
            var line = LineOf(start);
            if (!lines.TryAdd(key.Value, line))
            {
                throw Refused(
                    source, start, $"key {Quote.Of(key.Value)} is already set on line {lines[key.Value]}",
                    advice: "remove one of the two");
            }

            entries.Add(KeyValuePair.Create(key.Value, ReadNode(parser, source, depth + 1, line)));
        }
        return entries;
    }

    // No name of a file holds it, and no text needs it.
    private static void RefuseNul(ParsingEvent at, string source)
    {
        if (at is Scalar { Value: var text } && text.Contains('\0', StringComparison.Ordinal))
            throw Refused(source, at, "a text with the character NUL", advice: "take it out");
    }

    private static int LineOf(ParsingEvent at) => (int)at.Start.Line;

    private static UserException Refused(
        string source, ParsingEvent at, string found, string? expected = null, string? advice = null) =>
        UserException.At(Place(source, LineOf(at)), found, expected, advice);

    /// <summary>Keeps where the texts were, which may hold tabs.</summary>
    private sealed class ParserWithTexts(IParser parser) : IParser
    {
        private readonly List<(Mark Start, Mark End)> _texts = [];

        public IReadOnlyList<(Mark Start, Mark End)> Texts => _texts;

        public ParsingEvent? Current => parser.Current;

        public bool MoveNext()
        {
            var isThere = parser.MoveNext();
            if (isThere && parser.Current is Scalar text)
                _texts.Add((text.Start, text.End));
            return isThere;
        }
    }
}
