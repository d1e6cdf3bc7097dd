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

    /// <summary>Whether there was no room: nothing that the user wrote is wrong.</summary>
    public bool IsFull { get; private init; }

    /// <summary>Refuses to begin what would not fit.</summary>
    /// <param name="path">Where it is to be written; it need not exist yet.</param>
    /// <param name="bytes">How much is to be written.</param>
    /// <param name="what">What it is, in a few words.</param>
    /// <param name="freed">How much is removed there first.</param>
    /// <exception cref="FileOperationException">The file system has less room.</exception>
    public static void RequireSpace(string path, long bytes, string what, long freed = 0)
    {
        var existing = Path.GetFullPath(path);
        while (!Directory.Exists(existing))
            existing = Path.GetDirectoryName(existing)!;
        var free = new DriveInfo(existing).AvailableFreeSpace + freed;
        if (free < bytes)
            throw new FileOperationException(Fault.Text(
                path, $"{Megabytes(free)} free, and {what} take about {Megabytes(bytes)}", null,
                "free some space or choose another output"))
            { IsFull = true };
    }

    private static string Megabytes(long bytes) =>
        string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{bytes / 1048576.0:N1} MB");

    /// <summary>True for the errors of the operating system that are turned into this one.</summary>
    public static bool Covers(Exception error) =>
        error is IOException or UnauthorizedAccessException || IsFileTooLarge(error);

    /// <summary>The error as one that names the path and says what to do.</summary>
    public static FileOperationException Writing(string path, Exception error)
    {
        var (found, advice) = error switch
        {
            UnauthorizedAccessException =>
                ("no permission to write", "change its permissions or choose another output"),
            _ when IsFileTooLarge(error) => (
                "the file is larger than this shell or file system allows",
                "raise the limit (ulimit -f) or choose another output"),
            { HResult: NoSpaceLeft } => ("the disk is full", "free some space or choose another output"),
            { HResult: QuotaExceeded } => ("your disk quota is used up", "free some space or choose another output"),
            { HResult: ReadOnlySystem } => ("the file system is read-only", "choose another output"),
            _ => ("cannot be written: " + error.Message, null),
        };
        return new(Fault.Text(path, found, null, advice), error)
        {
            IsFull =
            error.HResult is NoSpaceLeft or QuotaExceeded
        };
    }

    internal static FileOperationException Reading(string path, Exception error)
    {
        var (found, advice) = error switch
        {
            FileNotFoundException or DirectoryNotFoundException => ("no such file", MissingPath.Advice(path)),
            UnauthorizedAccessException when Directory.Exists(path) => ("is a directory, not a file", "check the path"),
            UnauthorizedAccessException => ("no permission to read", "change its permissions"),
            _ => ("cannot be read: " + error.Message, null),
        };
        return new(Fault.Text(path, found, null, advice), error);
    }

    // How .NET tells EFBIG.
    private static bool IsFileTooLarge(Exception error) => error is ArgumentOutOfRangeException { ParamName: "value" }
        && error.StackTrace?.Contains("System.IO.RandomAccess", StringComparison.Ordinal) == true;
}
