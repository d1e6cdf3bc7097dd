using Peft.Formats;

namespace Peft.Data.Tables;

/// <summary>A data file that cannot be read; the message names the file and what is wrong with it.</summary>
public sealed class DataFileException : UserException
{
    /// <summary>Makes the error with its full text.</summary>
    public DataFileException(string message, Exception inner)
        : base(message, inner) => (Place, Reason) = ("", message);

    /// <summary>A file that is not what its format says.</summary>
    /// <param name="file">The file.</param>
    /// <param name="reason">What is wrong with it.</param>
    /// <param name="line">The line, where there is one.</param>
    /// <param name="inner">The error that was met underneath.</param>
    public DataFileException(DataFile file, string reason, long? line = null, Exception? inner = null)
        : base(
            $"{file.Name}{(line is null ? "" : $":{line}")} - {reason} - {DataFormats.Describe(file.Format)} - "
            + (file.Format == DataFormat.Parquet ? "write the file again" : "correct the file"),
            inner ?? new InvalidDataException(reason)) => (Place, Reason) = ($"{file.Name}{(line is null ? "" : $":{line}")}", reason);

    /// <summary>The file, and the line where there is one.</summary>
    public string Place { get; }

    /// <summary>What is wrong, without the place.</summary>
    public string Reason { get; }
}
