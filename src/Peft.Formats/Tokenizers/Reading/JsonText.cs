using System.Text.Json;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>Texts of a JSON reader as UTF-8 without making strings.</summary>
internal static class JsonText
{
    /// <summary>The current text or key; valid until the next call with the same buffer.</summary>
    public static ReadOnlySpan<byte> Utf8Of(ref Utf8JsonReader reader, ref byte[] buffer, string place)
    {
        if (!reader.ValueIsEscaped)
            return reader.ValueSpan;
        if (buffer.Length < reader.ValueSpan.Length)
            buffer = new byte[Math.Max(256, reader.ValueSpan.Length)];
        try
        {
            return buffer.AsSpan(0, reader.CopyString(buffer));
        }
        catch (InvalidOperationException error)
        {
            throw new TokenizerFileException(
                Fault.Text(place, $"a text that is not Unicode at byte {reader.TokenStartIndex}", "paired surrogates"),
                error);
        }
    }
}
