namespace Peft.Data;

/// <summary>One token, to be looked at.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Text">Its text in the vocabulary.</param>
/// <param name="IsSpecial">Whether it is a special token such as BOS.</param>
/// <param name="IsLearned">Whether the loss counts it.</param>
public sealed record PreviewToken(int Id, string Text, bool IsSpecial, bool IsLearned);
