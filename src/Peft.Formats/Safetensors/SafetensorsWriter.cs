using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using Peft.Formats.Files;

namespace Peft.Formats.Safetensors;

/// <summary>
/// Writes safetensors files: the same tensors and metadata give the same bytes. Tensors lie in the reference writer's
/// order, larger elements first and then by name, so that each is aligned to its element size.
/// </summary>
public static class SafetensorsWriter
{
    private static readonly JsonWriterOptions JsonOptions = new()
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Writes header and data to a stream.</summary>
    /// <exception cref="ArgumentException">Two tensors share a name, or a shape is negative or too large.</exception>
    /// <exception cref="InvalidOperationException">A tensor wrote more or fewer bytes than its shape says.</exception>
    public static void Write(
        Stream stream, IReadOnlyList<SafetensorsWrite> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        var ordered = tensors
            .OrderByDescending(tensor => tensor.Dtype.ByteSize())
            .ThenBy(tensor => tensor.Name, StringComparer.Ordinal)
            .ToList();
        var header = Header(ordered, metadata);
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)header.Length);
        stream.Write(length);
        stream.Write(header);
        foreach (var tensor in ordered)
        {
            var counted = new CountedStream(stream, tensor.Name, ByteCount(tensor));
            tensor.WriteBytes(counted);
            counted.ThrowIfShort();
        }
    }

    /// <summary>Writes a file that is found whole or not at all; see <see cref="AtomicFile"/>.</summary>
    /// <exception cref="FileOperationException">The disk is full, the place may not be written to, ...</exception>
    public static void WriteFile(
        string path, IReadOnlyList<SafetensorsWrite> tensors, IReadOnlyDictionary<string, string>? metadata = null) =>
        AtomicFile.Write(path, stream => Write(stream, tensors, metadata));

    private static byte[] Header(List<SafetensorsWrite> ordered, IReadOnlyDictionary<string, string>? metadata)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer, JsonOptions))
            WriteHeader(writer, ordered, metadata);
        while (buffer.Length % 8 != 0)
            buffer.WriteByte((byte)' ');
        if (buffer.Length > SafetensorsFile.LargestHeader)
            throw new ArgumentException(
                $"the header takes {buffer.Length} bytes; readers accept {SafetensorsFile.LargestHeader}");
        return buffer.ToArray();
    }

    private static void WriteHeader(
        Utf8JsonWriter writer, List<SafetensorsWrite> ordered, IReadOnlyDictionary<string, string>? metadata)
    {
        writer.WriteStartObject();
        if (metadata is { Count: > 0 })
        {
            writer.WriteStartObject("__metadata__");
            foreach (var (key, value) in metadata.OrderBy(entry => entry.Key, StringComparer.Ordinal))
                writer.WriteString(key, value);
            writer.WriteEndObject();
        }

        var names = new HashSet<string>(StringComparer.Ordinal) { "__metadata__" };
        var position = 0L;
        foreach (var tensor in ordered)
        {
            if (!names.Add(tensor.Name))
                throw new ArgumentException($"two tensors are called {Quote.Of(tensor.Name)}");
            var end = checked(position + ByteCount(tensor));
            writer.WriteStartObject(tensor.Name);
            writer.WriteString("dtype", tensor.Dtype.ToString());
            writer.WriteStartArray("shape");
            foreach (var size in tensor.Shape)
                writer.WriteNumberValue(size);
            writer.WriteEndArray();
            writer.WriteStartArray("data_offsets");
            writer.WriteNumberValue(position);
            writer.WriteNumberValue(end);
            writer.WriteEndArray();
            writer.WriteEndObject();
            position = end;
        }

        writer.WriteEndObject();
    }

    private static long ByteCount(SafetensorsWrite tensor)
    {
        var bytes = tensor.Shape.Any(size => size < 0) ? null : SafetensorsDtypes.ByteCount(tensor.Dtype, tensor.Shape);
        return bytes ?? throw new ArgumentException(
            $"tensor {Quote.Of(tensor.Name)} has the impossible shape [{string.Join(", ", tensor.Shape)}]");
    }
}

/// <summary>A tensor to be written.</summary>
/// <param name="Name">Its name in the file.</param>
/// <param name="Dtype">Element type.</param>
/// <param name="Shape">Sizes; empty for a single value.</param>
/// <param name="WriteBytes">Writes exactly the tensor's bytes, row-major and little-endian, when its turn
/// comes.</param>
public sealed record SafetensorsWrite(
    string Name, SafetensorsDtype Dtype, IReadOnlyList<long> Shape, Action<Stream> WriteBytes);

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
