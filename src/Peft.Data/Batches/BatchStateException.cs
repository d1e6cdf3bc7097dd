using Peft.Formats;

namespace Peft.Data.Batches;

/// <summary>A saved position that does not fit the data or settings; the message names both values.</summary>
public sealed class BatchStateException : UserException
{
    /// <summary>Makes the error with its full text.</summary>
    public BatchStateException(string message)
        : base(message)
    {
    }

    /// <summary>The same, keeping the error that was met underneath.</summary>
    public BatchStateException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
