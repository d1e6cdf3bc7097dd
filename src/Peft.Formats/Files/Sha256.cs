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
