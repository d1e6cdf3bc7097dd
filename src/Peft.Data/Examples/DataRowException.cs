using Peft.Formats;

namespace Peft.Data.Examples;

/// <summary>A row that cannot be used; the message names file, row and column, and the option that skips such rows.</summary>
public sealed class DataRowException : UserException
{
    /// <summary>Makes the error with its full text.</summary>
    public DataRowException(string message, RowId row)
        : base(message) => Row = row;

    /// <summary>The row.</summary>
    public RowId Row { get; }
}
