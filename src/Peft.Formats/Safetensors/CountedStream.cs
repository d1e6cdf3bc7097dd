namespace Peft.Formats.Safetensors;

/// <summary>Passes one tensor's bytes on and holds the writer to the count that the header promised.</summary>
internal sealed class CountedStream(Stream inner, string name, long expected) : Stream
{
    private long _written;

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => _written;
        set => throw new NotSupportedException();
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        if (buffer.Length > expected - _written)
            throw new InvalidOperationException($"tensor {Quote.Of(name)} wrote more than its {expected} bytes");
        inner.Write(buffer);
        _written += buffer.Length;
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush() => inner.Flush();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public void ThrowIfShort()
    {
        if (_written != expected)
            throw new InvalidOperationException($"tensor {Quote.Of(name)} wrote {_written} of its {expected} bytes");
    }
}
