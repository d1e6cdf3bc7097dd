using System.Text;
using Peft.Formats.Tokenizers.Unicode;

namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>"Whitespace": runs of word characters and runs of other visible characters (<c>\w+|[^\w\s]+</c>).</summary>
internal sealed class WhitespacePreTokenizer : IPreTokenizer
{
    public void Split(Piece piece, List<Piece> parts)
    {
        var start = 0;
        var at = 0;
        var kind = -1;
        foreach (var rune in piece.Span.EnumerateRunes())
        {
            var own = KindOf(rune);
            if (own != kind)
            {
                if (kind > 0)
                    parts.Add(piece.Part(start, at));
                (kind, start) = (own, at);
            }

            at += rune.Utf16SequenceLength;
        }

        if (kind > 0)
            parts.Add(piece.Part(start, at));
    }

    private static int KindOf(Rune rune) =>
        CodePoints.IsWhiteSpace(rune.Value) ? 0 : CodePoints.IsWord(rune.Value) ? 1 : 2;
}
