namespace Peft.Data.Tokens;

/// <summary>A sequence on its way into the store. What is learned is always the tail of a sequence.</summary>
/// <param name="Ids">Token ids.</param>
/// <param name="LearnedFrom">The first learned token.</param>
/// <param name="TaskId">Its task.</param>
/// <param name="FileId">Index of its file.</param>
/// <param name="Row">Its row in the file.</param>
/// <param name="CutTokens">Tokens left out.</param>
internal readonly record struct EncodedSequence(int[] Ids, int LearnedFrom, int TaskId, int FileId, long Row, int CutTokens)
{
    /// <summary>How many tokens are learned.</summary>
    public int LearnedTokens => Ids.Length - LearnedFrom;

    /// <summary>The form that leaves this room.</summary>
    public TokenSequence ToTokenSequence(IReadOnlyList<string> files)
    {
        var learned = new bool[Ids.Length];
        learned.AsSpan(LearnedFrom).Fill(true);
        return new TokenSequence(Ids, learned, TaskId, new RowId(files[FileId], Row), CutTokens);
    }
}
