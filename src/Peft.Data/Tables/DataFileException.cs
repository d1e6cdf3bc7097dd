using Peft.Formats;

namespace Peft.Data.Tables;

/// <summary>A data file that cannot be read; the message names the file and what is wrong with it.</summary>
public sealed class DataFileException : UserException
{
    /// <summary>Makes the error with its full text.</summary>
    public DataFileException(string message)
        : base(message)
    {
    }

    /// <summary>The same, keeping the error that was met underneath.</summary>
    public DataFileException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
