using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Peft.Formats.Files;

/// <summary>SHA-256 as 64 lower-case hexadecimal digits.</summary>
public static class Sha256
{
    /// <summary>The hash of a file's content, read in pieces.</summary>
    /// <exception cref="FileOperationException">The file is missing or cannot be read.</exception>
    public static string OfFile(string path)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20);
            return Convert.ToHexStringLower(SHA256.HashData(stream));
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Reading(path, error);
        }
    }

    /// <summary>The hash of bytes in memory.</summary>
    public static string OfBytes(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));
}

/// <summary>Tells files apart in a time that does not grow with them: a small file by all its bytes, a large one by its
/// size and samples that are evenly spread from its first to its last byte (the footer of a Parquet file among
/// them).</summary>
public static class SampledHash
{
    /// <summary>What the hash of a file begins with that was not read whole.</summary>
    public const string Prefix = "sampled-";

    private const int Samples = 64;
    private const int SampleBytes = 64 << 10;
    private const long Whole = 16 << 20; // bytes

    /// <summary>SHA-256 of the file, or <see cref="Prefix"/> and SHA-256 of its size and samples.</summary>
    /// <exception cref="FileOperationException">The file is missing or cannot be read.</exception>
    public static string OfFile(string path)
    {
        try
        {
            using var file = File.OpenHandle(path);
            var length = RandomAccess.GetLength(file);
            if (length <= Whole)
                return Sha256.OfFile(path);
            var bytes = new byte[sizeof(long) + Samples * SampleBytes];
            BinaryPrimitives.WriteInt64LittleEndian(bytes, length);
            for (var sample = 0; sample < Samples; sample++)
            {
                var from = (length - SampleBytes) / (Samples - 1) * sample
                    + (length - SampleBytes) % (Samples - 1) * sample / (Samples - 1);
                RandomAccess.Read(file, bytes.AsSpan(sizeof(long) + sample * SampleBytes, SampleBytes), from);
            }

            return Prefix + Convert.ToHexStringLower(SHA256.HashData(bytes));
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Reading(path, error);
        }
    }
}
