using Peft.Data.Tables;

namespace Peft.Data.Tokens;

/// <summary>One example in tokens. What is learned is always the tail of a sequence.</summary>
/// <param name="Ids">Token ids, special tokens included.</param>
/// <param name="LearnedFrom">The first token whose prediction from those before it the loss counts; at least 1.</param>
/// <param name="TaskId">Index of its task.</param>
/// <param name="Row">Where it came from; of a packed block, the row of its first token.</param>
/// <param name="CutTokens">How many tokens were left out to fit <c>max_length</c>.</param>
public sealed record TokenSequence(int[] Ids, int LearnedFrom, int TaskId, RowId Row, int CutTokens)
{
    /// <summary>How many tokens the loss counts.</summary>
    public int LearnedTokens => Ids.Length - LearnedFrom;
}
