using System.Buffers;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.Templates;

namespace Peft.Data.Tables;

/// <summary>JSON: the objects of a list, or objects one after the other, read as they come.</summary>
internal sealed class JsonListRows(
    DataFile file, IReadOnlyList<string> names, NameList? seen = null) : TableReader(names.Count)
{
    private const int FirstBuffer = 1 << 16;
    private const int LongestRow = 256 << 20;
    private readonly Stream _stream = DataStreams.Open(file);
    private readonly JsonRow _row = new(names);
    private byte[] _buffer = new byte[FirstBuffer];
    private int _start;
    private int _end;
    private bool _isEnded;
    private bool _isBegun;
    private JsonReaderState _state = new(new JsonReaderOptions { AllowMultipleValues = true });
    private long _line = 1; // at _start
    private long _rowLine;
    private bool _isInList;

    public override long? Line => _rowLine;

    public override bool Read()
    {
        if (!_isBegun)
            Fill();
        while (true)
        {
            var reader = new Utf8JsonReader(_buffer.AsSpan(_start, _end - _start), _isEnded, _state);
            try
            {
                if (!reader.Read())
                {
                    if (_isEnded)
                        return false;
                }
                else if (reader.TokenType is JsonTokenType.StartArray or JsonTokenType.EndArray
                    && reader.CurrentDepth == 0)
                {
                    _isInList = reader.TokenType == JsonTokenType.StartArray;
                    Consume(ref reader);
                    continue;
                }
                else if (TakeRow(ref reader))
                {
                    return true;
                }
            }
            catch (JsonException error)
            {
                var line = _line + Lines(_start, _start + (int)reader.BytesConsumed);
                var rest = _buffer.AsSpan(_start, _end - _start);
                var explained = JsonFile.Reason(error, rest, Culprit(rest, (int)reader.BytesConsumed));
                throw new DataFileException(file, "not JSON: " + JsonRow.WithoutLine(explained), line, error);
            }

            Fill();
        }
    }

    public override void Dispose() => _stream.Dispose();

    // False: more bytes are needed.
    private bool TakeRow(ref Utf8JsonReader reader)
    {
        var from = (int)reader.TokenStartIndex;
        if (!reader.TrySkip())
            return false;
        var (start, length) = (_start + from, (int)reader.BytesConsumed - from);
        _rowLine = _line + Lines(_start, start);
        Number++;
        var reason = _row.Read(_buffer.AsSpan(start, length), Values, seen);
        Broken = reason is null ? null : (_isInList ? "the list's element " : "it ") + reason;
        Consume(ref reader);
        return true;
    }

    private static readonly SearchValues<byte> BetweenTokens = SearchValues.Create(" \t\r\n,:"u8);

    // The token behind the last good one.
    private static int Culprit(ReadOnlySpan<byte> json, int from) =>
        json[from..].IndexOfAnyExcept(BetweenTokens) is >= 0 and var at ? from + at : json.Length;

    private void Consume(ref Utf8JsonReader reader)
    {
        var consumed = (int)reader.BytesConsumed;
        _state = reader.CurrentState;
        _line += Lines(_start, _start + consumed);
        _start += consumed;
    }

    private long Lines(int from, int to) => _buffer.AsSpan(from, Math.Max(to - from, 0)).Count((byte)'\n');

    private void Fill()
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
        }

        if (_end == _buffer.Length)
        {
            if (_buffer.Length >= LongestRow)
                throw new DataFileException(file, $"an object is longer than {LongestRow >> 20} MiB", _line);
            Array.Resize(ref _buffer, 2 * _buffer.Length);
        }

        try
        {
            // The first time, enough to tell a byte order mark.
            var read = _isBegun
                ? _stream.Read(_buffer.AsSpan(_end))
                : _stream.ReadAtLeast(_buffer, 3, throwOnEndOfStream: false);
            _end += read;
            _isEnded = read == 0;
        }
        catch (Exception error) when (DataStreams.IsReading(error))
        {
            throw DataStreams.Unreadable(file, error);
        }

        if (!_isBegun && _buffer.AsSpan(0, _end).StartsWith("\uFEFF"u8))
            _start = 3;
        _isBegun = true;
    }
}

/// <summary>JSON Lines: each line that is not blank is a row.</summary>
internal sealed class JsonLineRows(
    DataFile file, IReadOnlyList<string> names, NameList? seen = null) : TableReader(names.Count)
{
    private readonly ByteLines _lines = new(file);
    private readonly JsonRow _row = new(names);

    public override long? Line => _lines.Number;

    public override bool Read()
    {
        do
        {
            if (!_lines.Read())
                return false;
        }
        while (_lines.Line.Span.IndexOfAnyExcept(" \t"u8) < 0);

        Number++;
        Broken = _row.Read(_lines.Line.Span, Values, seen) is { } reason ? "the line " + reason : null;
        return true;
    }

    public override void Dispose() => _lines.Dispose();
}

/// <summary>One JSON object as a row.</summary>
internal sealed class JsonRow(IReadOnlyList<string> names)
{
    private readonly byte[][] _names = [.. names.Select(Encoding.UTF8.GetBytes)];
    private readonly List<string> _met = [];

    /// <summary>Takes the wanted values out of an object.</summary>
    /// <param name="json">The object's bytes.</param>
    /// <param name="values">Takes the values; null for those that are missing.</param>
    /// <param name="seen">Takes the names of all members of a whole object; may be null.</param>
    /// <returns>Why it is no object; null when it is one.</returns>
    public string? Read(ReadOnlySpan<byte> json, object?[] values, NameList? seen = null)
    {
        Array.Clear(values);
        _met.Clear();
        if (!Utf8.IsValid(json))
            return "is not UTF-8";
        try
        {
            var reader = new Utf8JsonReader(json);
            reader.Read();
            if (reader.TokenType != JsonTokenType.StartObject)
                return $"is {Describe(reader.TokenType)}, not a JSON object";
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var column = Find(ref reader);
                if (seen is not null)
                    _met.Add(reader.GetString()!);
                reader.Read();
                if (column < 0)
                    reader.Skip();
                else
                    values[column] = Value(ref reader);
            }

            reader.Read(); // nothing may follow
            foreach (var name in _met)
                seen?.Add(name);
            return null;
        }
        catch (JsonException error)
        {
            return "is not a JSON object: " + WithoutLine(JsonFile.Reason(error, json));
        }
        catch (InvalidOperationException)
        {
            return "holds half a character (a lone \\ud800 to \\udfff)";
        }
    }

    // The parser counts lines from the row's beginning.
    internal static string WithoutLine(string words)
    {
        var colon = words.IndexOf(": ", StringComparison.Ordinal);
        return Quote.Escaped(
            words.StartsWith("line ", StringComparison.Ordinal) && colon > 0 ? words[(colon + 2)..] : words);
    }

    internal static string Describe(JsonTokenType type) => type switch
    {
        JsonTokenType.StartArray => "a list",
        JsonTokenType.String => "a string",
        JsonTokenType.Number => "a number",
        JsonTokenType.True or JsonTokenType.False => "true or false",
        JsonTokenType.Null => "null",
        _ => "something else",
    };

    private int Find(ref Utf8JsonReader reader)
    {
        for (var at = 0; at < _names.Length; at++)
        {
            if (reader.ValueTextEquals(_names[at]))
                return at;
        }

        return -1;
    }

    private static object? Value(ref Utf8JsonReader reader)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.String:
                return reader.GetString();
            case JsonTokenType.Number:
                return WrittenNumber.Of(Encoding.ASCII.GetString(reader.ValueSpan));
            case JsonTokenType.StartObject or JsonTokenType.StartArray:
                return TemplateValues.OfJson(JsonElement.ParseValue(ref reader));
            default:
                return reader.TokenType switch { JsonTokenType.True => true, JsonTokenType.False => false, _ => null };
        }
    }
}

/// <summary>Distinct names in the order in which they were met.</summary>
internal sealed class NameList
{
    private readonly HashSet<string> _seen = new(StringComparer.Ordinal);
    private readonly List<string> _names = [];

    public IReadOnlyList<string> Names => _names;

    public int Count => _names.Count;

    public bool Contains(string name) => _seen.Contains(name);

    public void Add(string name)
    {
        if (_seen.Add(name))
            _names.Add(name);
    }
}
