namespace Peft.Formats.Files;

/// <summary>
/// A file or directory that could not be read or written; the message names the path and says what to do.
/// </summary>
public sealed class FileOperationException : UserException
{
    private const int NoSpaceLeft = 28;    // errno ENOSPC
    private const int ReadOnlySystem = 30; // errno EROFS
    private const int QuotaExceeded = 122; // errno EDQUOT

    internal FileOperationException(string message)
        : base(message)
    {
    }

    private FileOperationException(string message, Exception inner)
        : base(message, inner)
    {
    }

    /// <summary>True for the errors of the operating system that are turned into this one.</summary>
    public static bool Covers(Exception error) => error is IOException or UnauthorizedAccessException || IsFileTooLarge(error);

    /// <summary>The error as one that names the path and says what to do.</summary>
    public static FileOperationException Writing(string path, Exception error) => new(
        error switch
        {
            UnauthorizedAccessException => Fault.Text(
                path, "no permission to write", "a place you may write to",
                "change its permissions or choose another output"),
            _ when IsFileTooLarge(error) => Fault.Text(
                path, "the file is larger than this shell or file system allows", "room for the whole file",
                "raise the limit (ulimit -f) or choose another output"),
            { HResult: NoSpaceLeft } => Fault.Text(
                path, "the disk is full", "room for the whole file", "free some space or choose another output"),
            { HResult: QuotaExceeded } => Fault.Text(
                path, "your disk quota is used up", "room for the whole file",
                "free some space or choose another output"),
            { HResult: ReadOnlySystem } => Fault.Text(
                path, "the file system is read-only", "a place you may write to", "choose another output"),
            _ => Fault.Text(path, "cannot be written: " + error.Message.TrimEnd('.'), "a place you may write to"),
        },
        error);

    internal static FileOperationException Reading(string path, Exception error) => new(
        error switch
        {
            FileNotFoundException or DirectoryNotFoundException => Fault.Text(
                path, "no such file", "an existing file", "check the path"),
            UnauthorizedAccessException when Directory.Exists(path) => Fault.Text(
                path, "a directory", "a file", "check the path"),
            UnauthorizedAccessException => Fault.Text(
                path, "no permission to read", "a file you may read", "change its permissions"),
            _ => Fault.Text(path, "cannot be read: " + error.Message.TrimEnd('.'), "a file you may read"),
        },
        error);

    // How .NET tells EFBIG.
    private static bool IsFileTooLarge(Exception error) => error is ArgumentOutOfRangeException { ParamName: "value" }
        && error.StackTrace?.Contains("System.IO.RandomAccess", StringComparison.Ordinal) == true;
}
