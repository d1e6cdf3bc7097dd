using Peft.Formats.Tokenizers.Models;
using Peft.Formats.Tokenizers.Sources;

namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>
/// "ByteLevel": optionally GPT-2's split, then every byte of UTF-8 written as one visible character. Where it comes last
/// the tokenizer leaves the writing out and hands the bytes to the model.
/// </summary>
internal sealed class ByteLevelPreTokenizer(bool addsPrefixSpace, bool splits) : IPreTokenizer
{
    private readonly ScannerSplit _scanner = new(Gpt2Scanner.Shared);

    public bool AddsPrefixSpace => addsPrefixSpace;

    public bool Splits => splits;

    public void Split(Piece piece, List<Piece> parts)
    {
        var first = parts.Count;
        SplitOnly(piece, parts);
        for (var i = first; i < parts.Count; i++)
            parts[i] = parts[i].With(Written(parts[i].Own));
    }

    /// <summary>The pieces as text, not yet written in the byte alphabet.</summary>
    public void SplitOnly(Piece piece, List<Piece> parts)
    {
        if (addsPrefixSpace && piece.Length > 0 && piece.Span[0] != ' ')
            piece = piece.With(piece.Own.Prepend(" "));
        if (splits)
            _scanner.Split(piece, parts);
        else if (piece.Length > 0)
            parts.Add(piece);
    }

    private static SourceText Written(SourceText source)
    {
        var result = new SourceTextBuilder(source);
        Span<byte> utf8 = stackalloc byte[4];
        var at = 0;
        foreach (var rune in source.Text.EnumerateRunes())
        {
            foreach (var value in utf8[..rune.EncodeToUtf8(utf8)])
                result.Add([ByteAlphabet.CharacterOf(value)], at, at + rune.Utf16SequenceLength);
            at += rune.Utf16SequenceLength;
        }

        return result.ToText();
    }
}
