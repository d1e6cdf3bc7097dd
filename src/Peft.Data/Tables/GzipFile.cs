using System.Buffers.Binary;
using System.IO.Compression;

namespace Peft.Data.Tables;

/// <summary>
/// A .gz file unpacked. .NET's stream ends without a word where the file is cut short; here the length in the file's last bytes must be that of
/// what came out (of files put together, that of the last one is all there is).
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
