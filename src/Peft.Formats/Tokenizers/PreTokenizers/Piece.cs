using Peft.Formats.Tokenizers.Sources;

namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>A part of the text on its way to the model.</summary>
/// <param name="Source">The text it lies in.</param>
/// <param name="Start">First character.</param>
/// <param name="Length">Number of characters.</param>
/// <param name="IsAtStart">Whether the whole input begins with it.</param>
internal readonly record struct Piece(SourceText Source, int Start, int Length, bool IsAtStart)
{
    public ReadOnlySpan<char> Span => Source.Text.AsSpan(Start, Length);

    /// <summary>The piece as a text of its own.</summary>
    public SourceText Own => Source.Slice(Start, Start + Length);

    /// <summary>The part from <paramref name="start"/> to <paramref name="end"/>, counted in this piece.</summary>
    public Piece Part(int start, int end) => new(Source, Start + start, end - start, IsAtStart && start == 0);

    /// <summary>The same place in the input with another text.</summary>
    public Piece With(SourceText source) => new(source, 0, source.Text.Length, IsAtStart);

    /// <summary>The part of the caller's text that a part of this piece, not empty, was made from.</summary>
    public TextRange OriginOf(int start, int end) => Source.OriginOf(Start + start, Start + end);
}
