using System.Buffers.Binary;
using System.IO.Compression;
using Peft.Formats;

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
            var stream = new FileStream(
                file.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, BufferSize, FileOptions.SequentialScan);
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
            ? "cannot be decompressed: damaged or cut short"
            : error is UnauthorizedAccessException
            ? "no permission to read it"
            : $"cannot be read: {Quote.Escaped(error.Message).TrimEnd('.')}",
        inner: error);
}

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
        var fault = new Fault(
            Words.AllOf(changed), "changed while it was being read", "a file that nobody writes to",
            "start again when it is complete, or train on a copy");
        throw new DataFileException(fault, reading ?? new IOException("size or time differ"));
    }

    private static (long Bytes, DateTime Written) StampOf(DataFile file)
    {
        var info = new FileInfo(file.Path);
        return info.Exists ? (info.Length, info.LastWriteTimeUtc) : default;
    }
}

/// <summary>
/// A .gz file, decompressed. .NET's stream ends silently where the file is cut short; here the length in the file's last bytes must
/// be that of what came out (of files joined together it is that of the last one).
/// </summary>
internal sealed class GzipFile(FileStream file) : Stream
{
    private static ReadOnlySpan<byte> Magic => [0x1F, 0x8B, 0x08];

    private readonly GZipStream _unpacked = new(file, CompressionMode.Decompress, leaveOpen: true);
    private long _length;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => _length; set => throw new NotSupportedException(); }

    public override int Read(Span<byte> buffer)
    {
        var read = _unpacked.Read(buffer);
        _length += read;
        if (read == 0 && buffer.Length > 0)
            CheckEnd();
        return read;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        _unpacked.Dispose();
        file.Dispose();
        base.Dispose(disposing);
    }

    private void CheckEnd()
    {
        const int Smallest = 18; // header and trailer
        Span<byte> length = stackalloc byte[sizeof(uint)];
        if (file.Length < Smallest)
            throw new EndOfStreamException();
        file.Seek(-length.Length, SeekOrigin.End);
        file.ReadExactly(length);
        if (BinaryPrimitives.ReadUInt32LittleEndian(length) != (uint)_length && !HasSeveralParts())
            throw new EndOfStreamException();
    }

    private bool HasSeveralParts()
    {
        const int Header = 10;
        var buffer = new byte[1 << 20];
        file.Seek(1, SeekOrigin.Begin);
        for (var kept = 0; file.ReadAtLeast(buffer.AsSpan(kept), 1, throwOnEndOfStream: false) is > 0 and var read;)
        {
            var bytes = buffer.AsSpan(0, kept + read);
            for (var at = bytes.IndexOf(Magic); at >= 0 && at + Header <= bytes.Length;)
            {
                // Flags, and what packed it and where.
                if (bytes[at + 3] < 0x20 && bytes[at + 8] is 0 or 2 or 4 && bytes[at + 9] is <= 13 or 255)
                    return true;
                var next = bytes[(at + 1)..].IndexOf(Magic);
                at = next < 0 ? -1 : at + 1 + next;
            }

            kept = Math.Min(Header, bytes.Length);
            bytes[^kept..].CopyTo(buffer);
        }

        return false;
    }
}
