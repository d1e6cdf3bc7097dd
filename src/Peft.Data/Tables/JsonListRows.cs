using System.Text.Json;

namespace Peft.Data.Tables;

/// <summary>JSON: the objects of a list, or objects one after the other, read as they come.</summary>
internal sealed class JsonListRows(DataFile file, IReadOnlyList<string> names, NameList? seen = null) : TableReader(names.Count)
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
                else if (reader.TokenType is JsonTokenType.StartArray or JsonTokenType.EndArray && reader.CurrentDepth == 0)
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
                throw new DataFileException(
                    file, "is no JSON: " + JsonRow.Reason(error), _line + Lines(_start, _start + (int)reader.BytesConsumed), error);
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
        Broken = _row.Read(_buffer.AsSpan(start, length), Values, seen) is { } reason ? (_isInList ? "the list's element " : "it ") + reason : null;
        Consume(ref reader);
        return true;
    }

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
            var read = _isBegun ? _stream.Read(_buffer.AsSpan(_end)) : _stream.ReadAtLeast(_buffer, 3, throwOnEndOfStream: false);
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
