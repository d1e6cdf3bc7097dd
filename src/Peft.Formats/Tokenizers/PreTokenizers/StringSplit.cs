namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>"Split" at every occurrence of a fixed text.</summary>
internal sealed class StringSplit(string pattern, SplitBehavior behavior, bool invert) : IPreTokenizer
{
    public void Split(Piece piece, List<Piece> parts)
    {
        var splitter = new Splitter(piece, behavior, invert, parts);
        var text = piece.Span;
        var from = 0;
        while (text[from..].IndexOf(pattern, StringComparison.Ordinal) is >= 0 and var found)
        {
            splitter.Match(from + found, from + found + pattern.Length);
            from += found + pattern.Length;
        }

        splitter.Finish();
    }
}
