using System.Text;
using nietras.SeparatedValues;
using Peft.Formats;

namespace Peft.Data.Tables;

/// <summary>
/// CSV as RFC 4180 has it, and TSV, in which a quote is a character like any other. An empty field has no value. Rows
/// with another number of fields than the header are broken; a quote in the wrong place makes the borders of all rows
/// behind it uncertain and ends reading.
/// </summary>
internal sealed class SeparatedRows : TableReader
{
    // Not a character of any text: stands where bytes were not UTF-8.
    private const char Wrong = '\uFFFF';
    private readonly DataFile _file;
    private readonly SepReader _reader;
    private readonly int[] _columns;
    private long _line;

    /// <summary>Opens a file.</summary>
    /// <param name="file">The file.</param>
    /// <param name="names">The wanted columns, all of which it has.</param>
    public SeparatedRows(DataFile file, IReadOnlyList<string> names)
        : base(names.Count)
    {
        _file = file;
        var stream = DataStreams.Open(file);
        try
        {
            _reader = Open(stream, file.Format);
            Header = ReadHeader();
            _columns = [.. names.Select(name => Header.ToList().IndexOf(name))];
        }
        catch (Exception error)
        {
            stream.Dispose();
            throw Translated(error);
        }
    }

    /// <summary>The names of the columns, in their order.</summary>
    public IReadOnlyList<string> Header { get; }

    public override long? Line => _line;

    private bool HasQuotes => _file.Format == DataFormat.Csv;

    public override bool Read()
    {
        try
        {
            while (_reader.MoveNext())
            {
                var row = _reader.Current;
                _line = row.LineNumberFrom;
                if (row.ColCount == 1 && row.Span.IsEmpty && Header.Count > 1)
                    continue; // a blank line
                Take(row);
                return true;
            }

            return false;
        }
        catch (Exception error) when (error is not DataFileException)
        {
            throw Translated(error);
        }
    }

    public override void Dispose() => _reader.Dispose();

    private static SepReader Open(Stream stream, DataFormat format)
    {
        var encoding = Encoding.GetEncoding(
            "utf-8", EncoderFallback.ReplacementFallback, new DecoderReplacementFallback(Wrong.ToString()));
        var text = new StreamReader(stream, encoding, detectEncodingFromByteOrderMarks: false, bufferSize: 1 << 16);
        return (Sep.New(format == DataFormat.Tsv ? '\t' : ',').Reader() with
        {
            HasHeader = false,
            DisableColCountCheck = true,
            DisableQuotesParsing = format == DataFormat.Tsv,
        }).From(text);
    }

    private List<string> ReadHeader()
    {
        if (!_reader.MoveNext())
            throw new DataFileException(_file, "no header line");
        var row = _reader.Current;
        _line = 1;
        var names = new List<string>(row.ColCount);
        for (var at = 0; at < row.ColCount; at++)
            names.Add(Field(row[at].Span));
        if (names.Exists(name => name.Contains(Wrong, StringComparison.Ordinal)))
            throw new DataFileException(_file, "the header line is not UTF-8", _line);
        if (names.GroupBy(name => name).FirstOrDefault(group => group.Count() > 1) is { } twice)
            throw new DataFileException(
                _file, $"the header line has the column {Quote.Of(twice.Key)} more than once", _line);
        return names;
    }

    private void Take(SepReader.Row row)
    {
        Number++;
        Broken = row.ColCount == Header.Count
            ? null
            : $"the line has {Words.Count(row.ColCount, "field")}, the header line {Header.Count}";
        if (HasQuotes && row.Span.Contains('"'))
            CheckQuotes(row);
        if (Broken is not null)
            return;
        for (var at = 0; at < _columns.Length; at++)
        {
            var span = row[_columns[at]].Span;
            Values[at] = span.IsEmpty ? null : span
                .Contains(Wrong) ? NotUtf8 : Field(span) is { Length: > 0 } text ? text : null;
        }
    }

    private string Field(ReadOnlySpan<char> span) => HasQuotes && span is ['"', .., '"']
        ? span[1..^1].ToString().Replace("\"\"", "\"", StringComparison.Ordinal)
        : span.ToString();

    private void CheckQuotes(SepReader.Row row)
    {
        for (var at = 0; at < row.ColCount; at++)
        {
            var span = row[at].Span;
            if (!span.Contains('"'))
                continue;
            if (span.Count('"') % 2 == 1)
                throw Unclosed();
            if (span is not ['"', .., '"']
                || span[1..^1].ToString().Replace(
                    "\"\"", "", StringComparison.Ordinal).Contains('"', StringComparison.Ordinal))
            {
                throw new DataFileException(
                    _file, $"field {at + 1} has a quote inside that is not doubled, as in \"5\"\" disk\"", _line);
            }
        }
    }

    private DataFileException Unclosed() => new(_file, "a quote that begins here is not closed", _line);

    private Exception Translated(Exception error) => error switch
    {
        DataFileException => error,
        // Sep's bound on one row; a quote without its end makes one row of the rest.
        NotSupportedException when HasQuotes => new DataFileException(
            _file, "a quote that begins at or after this line is not closed", _line + 1, error),
        NotSupportedException => new DataFileException(_file, "the line is too long", _line + 1, error),
        _ when DataStreams.IsReading(error) => DataStreams.Unreadable(_file, error),
        _ => new DataFileException(_file, $"cannot be read as rows: {Quote.Escaped(error.Message)}", _line + 1, error),
    };
}
