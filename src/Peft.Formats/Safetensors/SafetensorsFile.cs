using System.Buffers.Binary;
using Peft.Formats.Files;

namespace Peft.Formats.Safetensors;

/// <summary>
/// One safetensors file: 8 bytes with the length of the header, a JSON header, the data. Opening reads only the
/// header and
/// checks all of it; what passes can be mapped into memory without further checks.
/// </summary>
public sealed class SafetensorsFile
{
    internal const long LargestHeader = 100_000_000; // bytes; the reference reader's limit

    private SafetensorsFile(string path, SafetensorsHeader header)
    {
        Path = path;
        Metadata = header.Metadata;
        Entries = header.Entries;
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>The header's <c>__metadata__</c>, empty when absent.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, SafetensorsEntry> Entries { get; }

    /// <summary>Reads and checks the header.</summary>
    /// <exception cref="UserException">The file is not what the format demands.</exception>
    /// <exception cref="FileOperationException">The file is missing or cannot be read.</exception>
    public static SafetensorsFile Open(string path)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1);
            var header = ReadHeader(path, stream);
            return new SafetensorsFile(path, SafetensorsHeader.Parse(path, header, stream.Length - stream.Position));
        }
        catch (Exception error) when (FileOperationException.Covers(error) || error is NotSupportedException)
        {
            throw FileOperationException.Reading(path, error);
        }
    }

    /// <summary>Copies one tensor's bytes.</summary>
    /// <exception cref="UserException">There is no such tensor, or it is larger than an array can
    /// be.</exception>
    /// <exception cref="FileOperationException">The file cannot be read any more.</exception>
    public byte[] ReadBytes(string name)
    {
        if (!Entries.TryGetValue(name, out var entry))
        {
            var near = NearestName.Of(name, Entries.Keys);
            throw UserException.At(Path,
                $"no tensor {Quote.Of(name)} among its {Words.Count(Entries.Count, "tensor")}",
                null,
                near is null ? null : $"did you mean {Quote.Of(near)}?");
        }

        if (entry.ByteCount > Array.MaxLength)
        {
            throw UserException.At($"{Path}, tensor {Quote.Of(name)}", $"{entry.ByteCount:N0} bytes",
                $"at most {Array.MaxLength:N0} bytes in one array", "map it into memory instead");
        }

        try
        {
            using var handle = File.OpenHandle(Path);
            var bytes = new byte[entry.ByteCount];
            for (var done = 0; done < bytes.Length;)
            {
                var count = RandomAccess.Read(handle, bytes.AsSpan(done), entry.Offset + done);
                done += count > 0 ? count : throw new EndOfStreamException("the file has become shorter");
            }

            return bytes;
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Reading(Path, error);
        }
    }

    private static byte[] ReadHeader(string path, FileStream stream)
    {
        Span<byte> first = stackalloc byte[8];
        if (stream.ReadAtLeast(first, 8, throwOnEndOfStream: false) < 8)
            throw Error(
                path, $"is only {Words.Count(stream.Length, "byte")} long", null, "copy or download the file again");
        if (first.SequenceEqual("version "u8))
            throw Error(path, "is a Git LFS pointer, not the file itself", null,
                "fetch it with: git lfs pull");
        var length = BinaryPrimitives.ReadUInt64LittleEndian(first);
        if (length > LargestHeader)
        {
            throw Error(
                path, $"a header of {length:N0} bytes", $"at most {LargestHeader:N0} bytes",
                "this is not a safetensors file, or it is damaged");
        }

        if ((long)length > stream.Length - 8)
        {
            throw Error(
                path,
                $"a header of {length:N0} bytes in a file of {stream.Length:N0}",
                null,
                "the file is truncated: copy or download it again");
        }

        var header = new byte[length];
        stream.ReadExactly(header);
        return header;
    }

    private static UserException Error(string path, string found, string? expected, string advice) =>
        UserException.At(path, found, expected, advice);
}

/// <summary>Where a tensor lies and what it is. Row-major, little-endian.</summary>
/// <param name="Name">Its name in the file.</param>
/// <param name="Dtype">Element type.</param>
/// <param name="Shape">Sizes; empty for a single value.</param>
/// <param name="FilePath">The file that holds it.</param>
/// <param name="Offset">First byte, counted from the beginning of the file.</param>
/// <param name="ByteCount">Bytes, exactly the shape times the element size.</param>
public sealed record SafetensorsEntry(
    string Name, SafetensorsDtype Dtype, IReadOnlyList<long> Shape, string FilePath, long Offset, long ByteCount);
