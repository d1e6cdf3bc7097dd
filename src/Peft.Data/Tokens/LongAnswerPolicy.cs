namespace Peft.Data.Tokens;

/// <summary>What to do with an answer that alone is longer than <c>max_length</c>.</summary>
public enum LongAnswerPolicy
{
    /// <summary>Stop and tell.</summary>
    Error,

    /// <summary>Leave the row out and count it.</summary>
    Skip,

    /// <summary>Cut the answer's end, and count the tokens; no end-of-text token is learned then.</summary>
    Cut,
}
