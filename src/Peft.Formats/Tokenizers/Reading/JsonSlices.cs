using System.Text.Json;
using Peft.Formats.Files;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>
/// Where the values of an object's keys lie in its bytes. Lets the parts be read in any order, and the large ones
/// (vocabulary, merges) without building a tree.
/// </summary>
internal static class JsonSlices
{
    /// <param name="json">The object.</param>
    /// <param name="place">For messages.</param>
    /// <param name="nested">
    /// A key whose object is taken apart in the same pass: its keys are then "nested.key", and "nested" itself stays
    /// too.
    /// </param>
    public static Dictionary<string, ReadOnlyMemory<byte>> Of(ReadOnlyMemory<byte> json, string place, string nested)
    {
        var slices = new Dictionary<string, ReadOnlyMemory<byte>>();
        try
        {
            var reader = new Utf8JsonReader(json.Span);
            reader.Read();
            if (reader.TokenType != JsonTokenType.StartObject)
                throw new TokenizerFileException(Fault.Text(place, "no JSON object", "an object in braces"));
            ReadObject(ref reader, json, place, "", nested, slices);
            // Nothing may follow the object.
            reader.Read();
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw new TokenizerFileException(
                Fault.Text(
                    place, error is JsonException syntax ? JsonFile.Reason(syntax) : error.Message, "well-formed JSON",
                    "take the file from its source again"),
                error);
        }

        return slices;
    }

    private static void ReadObject(
        ref Utf8JsonReader reader, ReadOnlyMemory<byte> json, string place, string prefix, string? nested,
        Dictionary<string, ReadOnlyMemory<byte>> slices)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = prefix + reader.GetString();
            reader.Read();
            var start = (int)reader.TokenStartIndex;
            if (key == nested && reader.TokenType == JsonTokenType.StartObject)
                ReadObject(ref reader, json, place, $"{nested}.", null, slices);
            else
                reader.Skip();
            if (!slices.TryAdd(key, json[start..(int)reader.BytesConsumed]))
                throw new TokenizerFileException(Fault.Text(place, $"the key {Quote.Of(key)} twice", "each key once"));
        }
    }
}
