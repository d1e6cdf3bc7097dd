namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>"Split" at the matches of a regular expression that has no scanner of its own.</summary>
internal sealed class RegexSplit(TokenizerRegex pattern, SplitBehavior behavior, bool invert) : IPreTokenizer
{
    public void Split(Piece piece, List<Piece> parts)
    {
        var splitter = new Splitter(piece, behavior, invert, parts);
        foreach (var (start, end) in pattern.Matches(piece.Span))
            splitter.Match(start, end);
        splitter.Finish();
    }
}
