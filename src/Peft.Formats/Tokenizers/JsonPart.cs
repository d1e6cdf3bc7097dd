using System.Globalization;
using System.Text.Json;
using Peft.Formats.Files;

namespace Peft.Formats.Tokenizers;

/// <summary>A value of a tokenizer file together with its place, read with typed errors.</summary>
/// <param name="Element">The value.</param>
/// <param name="Place">File and path of keys, for messages.</param>
internal sealed record JsonPart(JsonElement Element, string Place)
{
    public static JsonPart Parse(ReadOnlyMemory<byte> json, string place)
    {
        try
        {
            return new JsonPart(JsonDocument.Parse(json).RootElement, place);
        }
        catch (JsonException error)
        {
            throw UserException.At(place, JsonFile.Reason(error, json.Span), "well-formed JSON", inner: error);
        }
    }

    /// <summary>What to do where a tokenizer needs a part that is not supported.</summary>
    private const string OtherBase = "choose a base model whose tokenizer does without it";

    public bool IsNull => Element.ValueKind == JsonValueKind.Null;

    public string Type => Required("type").Text();

    public JsonPart Required(string key) =>
        Optional(key) ?? throw Fault($"no \"{key}\"", advice: "download the file again");

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
            throw Wrong("a string");
        try
        {
            return Element.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw Fault("a string that is not Unicode", "valid UTF-8 and paired surrogates");
        }
    }

    public int Integer(int least, int most) =>
        Element.ValueKind == JsonValueKind.Number && Element.TryGetInt32(out var value)
            && value >= least && value <= most
            ? value
            : throw Wrong($"a whole number from {least} to {most}");

    public bool Boolean(string key, bool fallback) => Optional(key)?.Boolean() ?? fallback;

    public bool Boolean() => Element.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Wrong("true or false"),
    };

    public IReadOnlyList<JsonPart> Items()
    {
        if (Element.ValueKind != JsonValueKind.Array)
            throw Wrong("a list");
        var place = Place;
        return [.. Element.EnumerateArray().Select((item, i) => new JsonPart(item, $"{place}[{i}]"))];
    }

    /// <summary>The members of an object in their order.</summary>
    public IReadOnlyList<(string Name, JsonPart Part)> Members()
    {
        if (Element.ValueKind != JsonValueKind.Object)
            throw Wrong("an object");
        var place = Place;
        try
        {
            return [.. Element.EnumerateObject().Select(
                member => (member.Name, new JsonPart(member.Value, $"{place}.{member.Name}")))];
        }
        catch (InvalidOperationException)
        {
            throw Fault("a key that is not Unicode", "valid UTF-8 and paired surrogates");
        }
    }

    /// <summary>The id that a key of an object spells.</summary>
    public int Id(string key) =>
        int.TryParse(key, NumberStyles.None, CultureInfo.InvariantCulture, out var id)
            && id <= TokenVocabulary.HighestAllowedId
            ? id
            : throw Fault($"the key {Quote.Of(key)}", $"an id from 0 to {TokenVocabulary.HighestAllowedId}");

    /// <summary>The error for a kind of step that this program does not know.</summary>
    public UserException Unsupported(string kind, params string[] supported) =>
        Fault($"{Quote.Of(kind)} is not supported", Words.OneOf(supported), OtherBase);

    /// <summary>The error for a value that is none of a few names.</summary>
    public UserException Unknown(string value, params string[] names) => Fault(Quote.Of(value), Words.OneOf(names));

    public UserException Fault(string found, string? expected = null, string? advice = null) =>
        UserException.At(Place, found, expected, advice);

    /// <summary>The error for a value of another kind, which it shows.</summary>
    public UserException Wrong(string expected)
    {
        try
        {
            var raw = Element.GetRawText();
            return Fault(Quote.Of(raw.Length > 60 ? raw[..60] : raw), expected);
        }
        catch (InvalidOperationException)
        {
            return Fault("a value that is not Unicode", expected);
        }
    }
}

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
                throw UserException.At(place, "not a JSON object", "an object in braces");
            ReadObject(ref reader, json, place, "", nested, slices);
            // Nothing may follow the object.
            reader.Read();
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw UserException.At(
                place, error is JsonException syntax ? JsonFile.Reason(syntax, json.Span) : error.Message,
                "well-formed JSON",
                "download the file again", error);
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
                throw UserException.At(place, $"the key {Quote.Of(key)} occurs twice", "every key once");
        }
    }
}

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
            throw UserException.At(
                place, $"a string that is not Unicode at byte {reader.TokenStartIndex}", "paired surrogates",
                inner: error);
        }
    }
}

/// <summary>
/// Keeps the steps of a tokenizer file from multiplying a text: each may be harmless, and forty of them that double it
/// would never end. Real ones replace a character by one.
/// </summary>
internal static class ChainLimits
{
    private const int MostSteps = 64;
    private const double MostTimes = 1024;

    /// <param name="part">The normalizer, pre-tokenizer or decoder, for messages.</param>
    /// <param name="steps">Its steps, sequences inside sequences included.</param>
    /// <param name="growths">How many times as long each of them can make a text.</param>
    /// <exception cref="UserException">There are too many, or they multiply.</exception>
    public static void Require(JsonPart part, int steps, IEnumerable<double> growths)
    {
        if (steps > MostSteps)
            throw part.Fault($"{steps} steps", $"at most {MostSteps}");
        var times = growths.Aggregate(1.0, (product, growth) => product * growth);
        if (times > MostTimes)
            throw part.Fault($"steps that make a text {times:G4} times as long", $"at most {MostTimes} times as long");
    }
}
