namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>A part of the text on its way to the model.</summary>
/// <param name="Text">The string it lies in.</param>
/// <param name="Start">First character.</param>
/// <param name="Length">Number of characters.</param>
/// <param name="IsAtStart">Whether the whole input begins with it.</param>
internal readonly record struct Piece(string Text, int Start, int Length, bool IsAtStart)
{
    public ReadOnlySpan<char> Span => Text.AsSpan(Start, Length);

    /// <summary>The part from <paramref name="start"/> to <paramref name="end"/>, counted in this piece.</summary>
    public Piece Part(int start, int end) => new(Text, Start + start, end - start, IsAtStart && start == 0);

    /// <summary>The same place in the input with another text.</summary>
    public Piece With(string text) => new(text, 0, text.Length, IsAtStart);

    public override string ToString() => Span.ToString();
}
