namespace Peft.Formats.HuggingFace;

/// <summary>
/// A model or adapter directory that is not one, or is of a kind not supported; the message names the path.
/// </summary>
public sealed class HuggingFaceException : UserException
{
    /// <summary>Makes the error with its full text.</summary>
    public HuggingFaceException(string message)
        : base(message)
    {
    }

    /// <summary>The same, keeping the error that was met underneath.</summary>
    public HuggingFaceException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
