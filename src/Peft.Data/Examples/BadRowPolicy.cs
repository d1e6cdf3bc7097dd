namespace Peft.Data.Examples;

/// <summary>What to do with a row that cannot be used.</summary>
public enum BadRowPolicy
{
    /// <summary>Stop and tell.</summary>
    Error,

    /// <summary>Leave it out and count it.</summary>
    Skip,
}
