using Peft.Formats;

namespace Peft.Data.Tables;

/// <summary>
/// Size and time of data files as they were before they were read. Their hashes and their rows are read one after the other
/// and must be of the same bytes.
/// </summary>
internal sealed class FileStamps
{
    private readonly IReadOnlyList<(DataFile File, (long Bytes, DateTime Written) Stamp)> _before;

    private FileStamps(IReadOnlyList<(DataFile, (long, DateTime))> before) => _before = before;

    /// <summary>Looks at the files.</summary>
    public static FileStamps Of(IEnumerable<DataFile> files) => new([.. files.Select(file => (file, StampOf(file)))]);

    /// <summary>Refuses files that were written to since.</summary>
    /// <exception cref="DataFileException">One was.</exception>
    public void RequireUnchanged(Exception? reading = null)
    {
        var changed = _before.Where(entry => StampOf(entry.File) != entry.Stamp).Select(entry => entry.File.Name).ToList();
        if (changed.Count == 0)
            return;
        throw new DataFileException(
            $"{string.Join(", ", changed)} - changed while it was read - a file that nobody writes to"
            + " - start again when it is complete, or train on a copy",
            reading ?? new IOException("size or time differ"));
    }

    private static (long Bytes, DateTime Written) StampOf(DataFile file)
    {
        var info = new FileInfo(file.Path);
        return info.Exists ? (info.Length, info.LastWriteTimeUtc) : default;
    }
}
