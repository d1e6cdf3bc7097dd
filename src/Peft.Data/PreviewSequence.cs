namespace Peft.Data;

/// <summary>One sequence, to be looked at.</summary>
/// <param name="DataSet">Its data set.</param>
/// <param name="Row">Its row.</param>
/// <param name="Task">Its task.</param>
/// <param name="Tokens">Its tokens.</param>
/// <param name="CutTokens">How many were left out to fit max_length.</param>
public sealed record PreviewSequence(string DataSet, RowId Row, string Task, IReadOnlyList<PreviewToken> Tokens, int CutTokens)
{
    /// <summary>How many tokens the loss counts.</summary>
    public int LearnedTokens => Tokens.Count(token => token.IsLearned);
}
