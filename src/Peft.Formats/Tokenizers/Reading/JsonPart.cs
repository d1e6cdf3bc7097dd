using System.Text.Json;
using Peft.Formats.Files;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>A value of a tokenizer file together with its place, read with typed errors.</summary>
/// <param name="Element">The value.</param>
/// <param name="Place">File and path of keys, for messages.</param>
internal readonly record struct JsonPart(JsonElement Element, string Place)
{
    public static JsonPart Parse(ReadOnlyMemory<byte> json, string place)
    {
        try
        {
            return new JsonPart(JsonDocument.Parse(json).RootElement, place);
        }
        catch (JsonException error)
        {
            throw new TokenizerFileException(Formats.Fault.Text(place, JsonFile.Reason(error), "well-formed JSON"), error);
        }
    }

    public bool IsNull => Element.ValueKind == JsonValueKind.Null;

    public string Type => Required("type").Text();

    public JsonPart Required(string key) =>
        Optional(key) ?? throw Fault($"no \"{key}\"", "an object that has it", "take the file from its source again");

    /// <summary>The value of a key; null where it is missing or null.</summary>
    public JsonPart? Optional(string key)
    {
        if (Element.ValueKind != JsonValueKind.Object)
            throw Wrong("an object");
        try
        {
            return Element.TryGetProperty(key, out var value) && value.ValueKind != JsonValueKind.Null
                ? new JsonPart(value, $"{Place}.{key}")
                : null;
        }
        catch (InvalidOperationException)
        {
            throw Fault("a key that is not Unicode", "valid UTF-8 and paired surrogates");
        }
    }

    public string Text()
    {
        if (Element.ValueKind != JsonValueKind.String)
            throw Wrong("a text");
        try
        {
            return Element.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw Fault("a text that is not Unicode", "valid UTF-8 and paired surrogates");
        }
    }

    public int Integer(int least, int most) =>
        Element.ValueKind == JsonValueKind.Number && Element.TryGetInt32(out var value) && value >= least && value <= most
            ? value
            : throw Wrong($"a whole number from {least} to {most}");

    public bool Boolean(string key, bool fallback) => Optional(key) is not { } part ? fallback : part.Element.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw part.Wrong("true or false"),
    };

    public IReadOnlyList<JsonPart> Items()
    {
        if (Element.ValueKind != JsonValueKind.Array)
            throw Wrong("a list");
        var place = Place;
        return [.. Element.EnumerateArray().Select((item, i) => new JsonPart(item, $"{place}[{i}]"))];
    }

    /// <summary>Makes the error for an unknown name among known ones.</summary>
    public TokenizerFileException Unsupported(string kind, string advice, params string[] supported) =>
        Fault(Quote.Of(kind), "supported: " + string.Join(", ", supported), advice);

    public TokenizerFileException Fault(string found, string allowed, string? advice = null) =>
        new(Formats.Fault.Text(Place, found, allowed, advice));

    private TokenizerFileException Wrong(string allowed)
    {
        var raw = Element.GetRawText();
        return Fault(Quote.Of(raw.Length > 60 ? raw[..60] : raw), allowed);
    }
}
