using System.Text;

namespace Peft.Formats.Files;

/// <summary>
/// Writes a file so that after a crash at any moment either the old content or the new one is found, never a part.
/// </summary>
public static class AtomicFile
{
    /// <summary>Stands behind the name of a file or directory that is being written.</summary>
    internal const string TemporaryMark = ".tmp-";

    private static int _count;

    /// <summary>
    /// Calls <paramref name="write"/> on a temporary file beside the target, flushes it to the disk, renames it over
    /// the
    /// target and flushes the directory. When anything fails the temporary file is removed and the target is untouched.
    /// </summary>
    /// <exception cref="FileOperationException">The disk is full, the place may not be written to, ...</exception>
    public static void Write(string path, Action<Stream> write)
    {
        var target = Path.GetFullPath(path);
        var temporary = $"{target}{TemporaryMark}{Environment.ProcessId}-{Interlocked.Increment(ref _count)}";
        try
        {
            if (Directory.Exists(target))
                throw new FileOperationException(
                    Fault.Text(path, "is a directory, not a file", null, "choose another name"));
            var directory = Path.GetDirectoryName(target)!;
            Directory.CreateDirectory(directory);
            // One that is there was left by a process of the same number (in containers the number is often 1).
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }

            File.Move(temporary, target, overwrite: true);
            UnixFiles.FlushDirectory(directory);
        }
        catch (Exception error)
        {
            RemoveQuietly(temporary);
            if (FileOperationException.Covers(error))
                throw FileOperationException.Writing(path, error);
            throw;
        }
    }

    /// <summary>Writes text in UTF-8 without a byte order mark; otherwise as <see cref="Write"/>.</summary>
    public static void WriteText(string path, string text) =>
        Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(text)));

    // The first error is the one to tell; failing to clean up must not hide it.
    private static void RemoveQuietly(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
        }
    }
}
