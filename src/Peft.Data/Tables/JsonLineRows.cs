namespace Peft.Data.Tables;

/// <summary>JSON Lines: each line that is not blank is a row.</summary>
internal sealed class JsonLineRows(DataFile file, IReadOnlyList<string> names, NameList? seen = null) : TableReader(names.Count)
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
