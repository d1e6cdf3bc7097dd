namespace Peft.Formats.Tokenizers.PostProcessors;

/// <summary>One place of a template: the first text, the second, or fixed tokens.</summary>
/// <param name="Sequence">'A', 'B', or '\0' for fixed tokens.</param>
/// <param name="Ids">The fixed tokens.</param>
internal sealed record TemplatePiece(char Sequence, IReadOnlyList<int> Ids)
{
    public static TemplatePiece A { get; } = new('A', []);

    public static TemplatePiece B { get; } = new('B', []);

    public static TemplatePiece Fixed(params int[] ids) => new('\0', ids);
}

/// <summary>Which special tokens stand around one text, and around a pair.</summary>
/// <param name="Single">For one text.</param>
/// <param name="Pair">For two.</param>
internal sealed record PostProcessor(IReadOnlyList<TemplatePiece> Single, IReadOnlyList<TemplatePiece> Pair)
{
    /// <summary>Nothing added: a pair is the two texts one after the other.</summary>
    public static PostProcessor None { get; } = new([TemplatePiece.A], [TemplatePiece.A, TemplatePiece.B]);
}
