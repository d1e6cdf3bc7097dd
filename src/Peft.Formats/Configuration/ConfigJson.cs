using System.Text;
using System.Text.Json;
using Peft.Formats.Files;

namespace Peft.Formats.Configuration;

/// <summary>
/// Reads strict JSON (no comments, no trailing commas, no key twice) into a tree that knows its lines.
/// </summary>
public static class ConfigJson
{
    private const int DeepestNesting = 64;
    private const int MostValues = 1_000_000; // a value takes some 100 bytes in memory, but as few as 2 in the file
    private const long LargestFile = 64L << 20; // bytes; an index of 100,000 tensors takes about 10 MB

    /// <summary>Parses one JSON object.</summary>
    /// <param name="text">The JSON.</param>
    /// <param name="source">The name to use in messages.</param>
    /// <exception cref="UserException">Not JSON, not an object, nested too deep, or a key is set
    /// twice.</exception>
    public static ConfigMap Parse(string text, string source) => Parse(Encoding.UTF8.GetBytes(text), source);

    /// <summary>Reads a file of one JSON object in UTF-8, with or without a byte order mark.</summary>
    /// <exception cref="UserException">As for <see cref="Parse(string, string)"/>, or the file is not
    /// UTF-8.</exception>
    /// <exception cref="FileOperationException">The file is missing, unreadable or larger than 64 MiB.</exception>
    public static ConfigMap ReadFile(string path) => Parse(BoundedFile.ReadAllBytes(path, LargestFile), path);

    private static ConfigMap Parse(byte[] bytes, string source)
    {
        ReadOnlySpan<byte> json = bytes;
        if (json.StartsWith("\uFEFF"u8))
            json = json[3..];
        var parser = new Parser(json, source);
        try
        {
            return parser.ParseDocument();
        }
        catch (JsonException error)
        {
            throw UserException.At(
                $"{source}:{error.LineNumber.GetValueOrDefault() + 1}",
                "not valid JSON: " + JsonFile.Words(JsonDialect.Explained(json, error)),
                "strict JSON, without comments or trailing commas", inner: error);
        }
        catch (InvalidOperationException error)
        {
            throw UserException.At(
                $"{source}:{parser.Line}", "a text that is not valid Unicode",
                "UTF-8, and \\u escapes that form whole characters", "save the file as UTF-8", error);
        }
    }

    private ref struct Parser(ReadOnlySpan<byte> json, string source)
    {
        private readonly ReadOnlySpan<byte> _json = json;
        private Utf8JsonReader _reader = new(json, new JsonReaderOptions { MaxDepth = DeepestNesting });
        private int _counted; // bytes whose line ends are in Line
        private int _values;

        /// <summary>The line of the token read last.</summary>
        public int Line { get; private set; } = 1;

        public ConfigMap ParseDocument()
        {
            Next();
            if (_reader.TokenType != JsonTokenType.StartObject)
            {
                throw UserException.At(
                    $"{source}:{Line}", $"begins with {Name(_reader.TokenType)}", "one JSON object: { ... }");
            }

            var map = ParseMap();
            if (_reader.Read())
                throw new InvalidOperationException("there is more after the document's end");
            return map;
        }

        private void Next()
        {
            // At the end of the input the reader throws by itself: the document is not finished.
            _reader.Read();
            var start = (int)_reader.TokenStartIndex;
            Line += _json[_counted..start].Count((byte)'\n');
            _counted = start;
        }

        private ConfigNode ParseValue()
        {
            if (++_values > MostValues)
            {
                throw UserException.At(
                    $"{source}:{Line}", $"more than {MostValues:N0} values", null,
                    "check that this is the right file");
            }

            switch (_reader.TokenType)
            {
                case JsonTokenType.StartObject:
                    return ParseMap();
                case JsonTokenType.StartArray:
                    return ParseList();
                case JsonTokenType.String:
                    return new ConfigScalar(source, Line, _reader.GetString(), isQuoted: true);
                case JsonTokenType.Null:
                    return new ConfigScalar(source, Line, null);
                default: // a number, true or false: as written
                    return new ConfigScalar(source, Line, Encoding.ASCII.GetString(_reader.ValueSpan));
            }
        }

        private ConfigMap ParseMap()
        {
            var line = Line;
            var entries = new List<KeyValuePair<string, ConfigNode>>();
            var lines = new Dictionary<string, int>(StringComparer.Ordinal);
            for (Next(); _reader.TokenType != JsonTokenType.EndObject; Next())
            {
                var key = _reader.GetString()!;
                if (!lines.TryAdd(key, Line))
                {
                    throw UserException.At(
                        $"{source}:{Line}", $"key {Quote.Of(key)} is already set on line {lines[key]}", null,
                        "remove one of the two");
                }

                Next();
                entries.Add(KeyValuePair.Create(key, ParseValue()));
            }

            return new ConfigMap(source, line, entries);
        }

        private ConfigList ParseList()
        {
            var line = Line;
            var items = new List<ConfigNode>();
            for (Next(); _reader.TokenType != JsonTokenType.EndArray; Next())
                items.Add(ParseValue());
            return new ConfigList(source, line, items);
        }

        private static string Name(JsonTokenType token) => token switch
        {
            JsonTokenType.StartArray => "a list",
            JsonTokenType.String => "a text",
            JsonTokenType.Number => "a number",
            _ => "a bare word",
        };
    }
}
