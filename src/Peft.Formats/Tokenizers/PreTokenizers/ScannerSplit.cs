namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>
/// Splits with a hand-written scanner, for the places where it is followed by something else than plain byte-level BPE.
/// </summary>
internal sealed class ScannerSplit(Utf8Scanner scanner) : IPreTokenizer
{
    public Utf8Scanner Scanner => scanner;

    public void Split(Piece piece, List<Piece> parts)
    {
        var utf8 = System.Text.Encoding.UTF8.GetBytes(piece.Span.ToString());
        var at = 0;
        for (var start = 0; start < utf8.Length;)
        {
            var end = scanner.NextEnd(utf8, start);
            var length = System.Text.Encoding.UTF8.GetCharCount(utf8, start, end - start);
            parts.Add(piece.Part(at, at + length));
            at += length;
            start = end;
        }
    }
}
