namespace Peft.Formats.Files;

/// <summary>Reads whole files whose size is checked before memory is taken.</summary>
public static class BoundedFile
{
    /// <summary>All bytes of a file.</summary>
    /// <exception cref="FileOperationException">The file is missing, unreadable or larger than <paramref
    /// name="limit"/> bytes.</exception>
    public static byte[] ReadAllBytes(string path, long limit)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            if (stream.Length > limit)
                throw TooLarge(path, $"{stream.Length:N0} bytes", limit);
            var bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception error) when (FileOperationException.Covers(error) || error is NotSupportedException)
        {
            throw FileOperationException.Reading(path, error);
        }
    }

    private static FileOperationException TooLarge(string path, string size, long limit) =>
        new(Fault.Text(path, size, $"at most {limit:N0} bytes", "check that this is the right file"));
}
