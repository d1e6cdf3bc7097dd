namespace Peft.Data;

/// <summary>One example in tokens.</summary>
/// <param name="Ids">Token ids, special tokens included.</param>
/// <param name="Learned">For each token whether the loss counts its prediction from the tokens before it; never true for the first.</param>
/// <param name="TaskId">Index of the task in <see cref="TrainingData.TaskNames"/>.</param>
/// <param name="Row">Where it came from; of a packed block, the row of its first token.</param>
/// <param name="CutTokens">How many tokens were left out to fit <c>max_length</c>.</param>
public sealed record TokenSequence(int[] Ids, bool[] Learned, int TaskId, RowId Row, int CutTokens);
