using System.Text;
using System.Text.Unicode;

namespace Peft.Data.Tables;

/// <summary>Finds what DuckDB's message about a text of JSON leaves out: the line that is not UTF-8.</summary>
internal static class Utf8Lines
{
    private const long MostBytes = 256L << 20; // looked through after an error only

    /// <summary>The first line that is not UTF-8, from 1; null when none of the beginning is wrong, or the file is compressed or
    /// cannot be read: then DuckDB's message says why.</summary>
    public static long? FirstWrong(string path)
    {
        if (Path.GetExtension(path).ToLowerInvariant() is ".gz" or ".zst")
            return null;
        try
        {
            return Search(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static long? Search(string path)
    {
        // Latin-1 keeps each byte as one character.
        using var reader = new StreamReader(path, Encoding.Latin1, detectEncodingFromByteOrderMarks: false);
        var seen = 0L;
        for (var number = 1L; seen < MostBytes && reader.ReadLine() is { } line; number++)
        {
            if (!Ascii.IsValid(line) && !Utf8.IsValid(Encoding.Latin1.GetBytes(line)))
                return number;
            seen += line.Length + 1;
        }

        return null;
    }
}
