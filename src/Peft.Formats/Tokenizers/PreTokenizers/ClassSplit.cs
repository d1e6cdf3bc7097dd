using Peft.Formats.Tokenizers.Unicode;

namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>Splits at characters of one class: WhitespaceSplit, Punctuation, Digits.</summary>
/// <param name="matches">Whether a code point belongs to the class.</param>
/// <param name="behavior">What becomes of them.</param>
internal sealed class ClassSplit(Func<int, bool> matches, SplitBehavior behavior) : IPreTokenizer
{
    public static ClassSplit WhiteSpace { get; } = new(CodePoints.IsWhiteSpace, SplitBehavior.Removed);

    public static ClassSplit Digits(bool individual) =>
        new(CodePoints.IsNumber, individual ? SplitBehavior.Isolated : SplitBehavior.Contiguous);

    public static ClassSplit Punctuation(SplitBehavior behavior) => new(CodePoints.IsPunctuation, behavior);

    public void Split(Piece piece, List<Piece> parts)
    {
        var splitter = new Splitter(piece, behavior, invert: false, parts);
        var at = 0;
        foreach (var rune in piece.Span.EnumerateRunes())
        {
            if (matches(rune.Value))
                splitter.Match(at, at + rune.Utf16SequenceLength);
            at += rune.Utf16SequenceLength;
        }

        splitter.Finish();
    }
}
