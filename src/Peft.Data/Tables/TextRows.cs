using System.Text;
using System.Text.Unicode;

namespace Peft.Data.Tables;

/// <summary>The lines of a file as bytes, in the memory of the longest; a byte order mark and line ends (LF or CR LF)
/// are left out.</summary>
internal sealed class ByteLines(DataFile file) : IDisposable
{
    private const int FirstBuffer = 1 << 16;
    private const int LongestLine = 256 << 20;
    private readonly Stream _stream = DataStreams.Open(file);
    private byte[] _buffer = new byte[FirstBuffer];
    private int _start;
    private int _end;
    private bool _isEnded;

    /// <summary>Number of the line last read, from 1.</summary>
    public long Number { get; private set; }

    /// <summary>The line last read; overwritten by the next.</summary>
    public ReadOnlyMemory<byte> Line { get; private set; }

    /// <summary>Goes to the next line; false at the end.</summary>
    /// <exception cref="DataFileException">The file cannot be read, or the line is too long.</exception>
    public bool Read()
    {
        var searched = 0;
        while (true)
        {
            var found = _buffer.AsSpan(_start + searched, _end - _start - searched).IndexOf((byte)'\n');
            if (found >= 0)
                return Take(searched + found, 1);
            searched = _end - _start;
            if (_isEnded)
                return searched > 0 && Take(searched, 0);
            Fill();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private bool Take(int length, int lineEnd)
    {
        var line = _buffer.AsMemory(_start, length);
        _start += length + lineEnd;
        if (Number++ == 0 && line.Span.StartsWith("\uFEFF"u8))
            line = line[3..];
        Line = line.Span.EndsWith("\r"u8) ? line[..^1] : line;
        return true;
    }

    private void Fill()
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
        }

        if (_end == _buffer.Length)
        {
            if (_buffer.Length >= LongestLine)
                throw new DataFileException(file, $"the line is longer than {LongestLine >> 20} MiB", Number + 1);
            Array.Resize(ref _buffer, 2 * _buffer.Length);
        }

        try
        {
            var read = _stream.Read(_buffer, _end, _buffer.Length - _end);
            _end += read;
            _isEnded = read == 0;
        }
        catch (Exception error) when (DataStreams.IsReading(error))
        {
            throw DataStreams.Unreadable(file, error);
        }
    }
}

/// <summary>Plain text: each line is a row of the one column <c>text</c>.</summary>
internal sealed class TextRows(DataFile file, int columns) : TableReader(columns)
{
    public const string Column = "text";
    private readonly ByteLines _lines = new(file);

    public override long? Line => _lines.Number;

    public override bool Read()
    {
        if (!_lines.Read())
            return false;
        Number = _lines.Number;
        var line = _lines.Line.Span;
        Array.Fill(Values, Utf8.IsValid(line) ? Encoding.UTF8.GetString(line) : NotUtf8);
        return true;
    }

    public override void Dispose() => _lines.Dispose();
}
