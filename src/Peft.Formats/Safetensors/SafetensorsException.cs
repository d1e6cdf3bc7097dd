namespace Peft.Formats.Safetensors;

/// <summary>A checkpoint that is missing, damaged or of a kind not read; the message names file and tensor.</summary>
public sealed class SafetensorsException : UserException
{
    /// <summary>Makes the error with its full text.</summary>
    public SafetensorsException(string message)
        : base(message)
    {
    }

    /// <summary>The same, keeping the error that was met underneath.</summary>
    public SafetensorsException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
