using Peft.Formats;

namespace Peft.Data.DuckDb;

/// <summary>libduckdb.so is missing or cannot be loaded; the message names the places tried and the two ways to get it.</summary>
public sealed class DuckDbLibraryException : UserException
{
    /// <summary>Makes the error with its full text.</summary>
    public DuckDbLibraryException(string message)
        : base(message)
    {
    }

    /// <summary>The same, keeping the error that was met underneath.</summary>
    public DuckDbLibraryException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
