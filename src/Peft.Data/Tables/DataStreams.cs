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
                file.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, BufferSize,
                FileOptions.SequentialScan);
            var ending = Path.GetExtension(file.Path).ToLowerInvariant();
            if (ending is not (".gz" or ".zst"))
                RefuseForeign(file, stream);
            return ending switch
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

    // What is often found under the name of a text file, and would be told as a line that is not UTF-8.
    private static void RefuseForeign(DataFile file, FileStream stream)
    {
        Span<byte> start = stackalloc byte[4];
        var known = start[..stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)];
        stream.Position = 0;
        var (found, advice) = known switch
        {
            [0x1F, 0x8B, ..] => ("compressed by gzip", $"give it the name {file.Name}.gz"),
            [0x28, 0xB5, 0x2F, 0xFD] => ("compressed by zstd", $"give it the name {file.Name}.zst"),
            [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..] =>
                ("text in UTF-16", "save it as UTF-8, for example with: iconv -f UTF-16 -t UTF-8"),
            [(byte)'P', (byte)'K', 3, 4] => ("a ZIP archive or a spreadsheet", "save its table as CSV"),
            _ => ((string?)null, (string?)null),
        };
        if (found is null)
            return;
        stream.Dispose();
        throw new DataFileException(new Fault(file.Name, found, DataFormats.Describe(file.Format), advice), null);
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
/// Size and time of data files as they were before they were read. Their hashes and their rows are read one after the
/// other and must be of the same bytes.
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
        var changed = _before.Where(entry => StampOf(entry.File) != entry.Stamp)
            .Select(entry => entry.File.Name).ToList();
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
/// A .gz file, decompressed. .NET's stream ends silently where the file is cut short; here the length in the file's
/// last bytes must be that of what came out (of files joined together it is that of the last one).
/// </summary>
internal sealed class GzipFile(FileStream file) : Stream
{
    private static readonly uint[] Crc = CrcTable();

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
        Span<byte> trailer = stackalloc byte[2 * sizeof(uint)];
        if (file.Length < Smallest)
            throw new EndOfStreamException();
        file.Seek(-trailer.Length, SeekOrigin.End);
        file.ReadExactly(trailer);
        var (crc, size) = (
            BinaryPrimitives.ReadUInt32LittleEndian(trailer),
            BinaryPrimitives.ReadUInt32LittleEndian(trailer[sizeof(uint)..]));
        if (size != (uint)_length && !IsLastPart(crc, size))
            throw new EndOfStreamException();
    }

    // Of files joined together the trailer is that of the last: what it is of must end here. Read once more for that.
    private bool IsLastPart(uint crc, uint size)
    {
        file.Seek(0, SeekOrigin.Begin);
        using var again = new GZipStream(file, CompressionMode.Decompress, leaveOpen: true);
        var buffer = new byte[1 << 16];
        var found = uint.MaxValue;
        for (var at = 0L; again.Read(buffer) is > 0 and var read; at += read)
        {
            foreach (var value in buffer.AsSpan((int)Math.Clamp(_length - size - at, 0, read)..read))
                found = Crc[(byte)(found ^ value)] ^ found >> 8;
        }

        return size < _length && ~found == crc;
    }

    private static uint[] CrcTable()
    {
        const uint Polynomial = 0xEDB88320;
        var table = new uint[256];
        for (var at = 0u; at < table.Length; at++)
        {
            var value = at;
            for (var bit = 0; bit < 8; bit++)
                value = value >> 1 ^ ((value & 1) == 0 ? 0 : Polynomial);
            table[at] = value;
        }

        return table;
    }
}
