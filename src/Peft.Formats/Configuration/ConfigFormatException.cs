namespace Peft.Formats.Configuration;

/// <summary>
/// A configuration file that cannot be read as what it claims to be; the message names file and line.
/// </summary>
public sealed class ConfigFormatException : UserException
{
    /// <summary>Makes the error with its full text.</summary>
    public ConfigFormatException(string message)
        : base(message)
    {
    }

    /// <summary>The same, keeping the error that was met underneath.</summary>
    public ConfigFormatException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
