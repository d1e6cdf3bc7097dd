namespace Peft.Data.Tables;

/// <summary>Opens data files for reading from beginning to end, .gz and .zst unpacked.</summary>
internal static class DataStreams
{
    private const int BufferSize = 1 << 16;

    /// <summary>The file's bytes.</summary>
    /// <exception cref="DataFileException">It cannot be opened.</exception>
    public static Stream Open(DataFile file)
    {
        try
        {
            var stream = new FileStream(file.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, BufferSize, FileOptions.SequentialScan);
            return Path.GetExtension(file.Path).ToLowerInvariant() switch
            {
                ".gz" => new GzipFile(stream),
                ".zst" => new ZstdSharp.DecompressionStream(stream, leaveOpen: false),
                _ => stream,
            };
        }
        catch (Exception error) when (IsReading(error))
        {
            throw Unreadable(file, error);
        }
    }

    /// <summary>Whether reading bytes ends in such an error.</summary>
    public static bool IsReading(Exception error) =>
        error is IOException or InvalidDataException or UnauthorizedAccessException or ZstdSharp.ZstdException;

    /// <summary>The error of bytes that cannot be had.</summary>
    public static DataFileException Unreadable(DataFile file, Exception error) => new(
        file,
        error is InvalidDataException or ZstdSharp.ZstdException or EndOfStreamException
            ? "cannot be unpacked: it is damaged or cut short"
            : error is UnauthorizedAccessException
            ? "no permission to read it"
            : $"cannot be read: {Peft.Formats.Quote.Escaped(error.Message).TrimEnd('.')}",
        inner: error);
}
