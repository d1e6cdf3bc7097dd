using System.Text;
using System.Text.Unicode;

namespace Peft.Data.Tables;

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
