using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.Templates;

namespace Peft.Data.Tables;

/// <summary>One JSON object as a row.</summary>
internal sealed class JsonRow(IReadOnlyList<string> names)
{
    private readonly byte[][] _names = [.. names.Select(Encoding.UTF8.GetBytes)];

    /// <summary>Takes the wanted values out of an object.</summary>
    /// <param name="json">The object's bytes.</param>
    /// <param name="values">Takes the values; null for those that are missing.</param>
    /// <param name="seen">Takes the names of all members; may be null.</param>
    /// <returns>Why it is no object; null when it is one.</returns>
    public string? Read(ReadOnlySpan<byte> json, object?[] values, NameList? seen = null)
    {
        Array.Clear(values);
        if (!Utf8.IsValid(json))
            return "is not UTF-8";
        try
        {
            var reader = new Utf8JsonReader(json);
            reader.Read();
            if (reader.TokenType != JsonTokenType.StartObject)
                return $"is {Describe(reader.TokenType)}, no JSON object";
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var column = Find(ref reader);
                seen?.Add(reader.GetString()!);
                reader.Read();
                if (column < 0)
                    reader.Skip();
                else
                    values[column] = Value(ref reader);
            }

            reader.Read(); // nothing may follow
            return null;
        }
        catch (JsonException error)
        {
            return "is no JSON object: " + Reason(error);
        }
        catch (InvalidOperationException)
        {
            return "holds half a character (a lone \\ud800...\\udfff)";
        }
    }

    internal static string Reason(JsonException error)
    {
        var words = JsonFile.Reason(error);
        var colon = words.IndexOf(": ", StringComparison.Ordinal);
        // The parser counts lines from the row's beginning.
        return Quote.Escaped(words.StartsWith("line ", StringComparison.Ordinal) && colon > 0 ? words[(colon + 2)..] : words);
    }

    internal static string Describe(JsonTokenType type) => type switch
    {
        JsonTokenType.StartArray => "a list",
        JsonTokenType.String => "a text",
        JsonTokenType.Number => "a number",
        JsonTokenType.True or JsonTokenType.False => "a truth value",
        JsonTokenType.Null => "null",
        _ => "something else",
    };

    private int Find(ref Utf8JsonReader reader)
    {
        for (var at = 0; at < _names.Length; at++)
        {
            if (reader.ValueTextEquals(_names[at]))
                return at;
        }

        return -1;
    }

    private static object? Value(ref Utf8JsonReader reader)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.String:
                return reader.GetString();
            case JsonTokenType.Number:
                return WrittenNumber.Of(Encoding.ASCII.GetString(reader.ValueSpan));
            case JsonTokenType.StartObject or JsonTokenType.StartArray:
                return TemplateValues.OfJson(JsonElement.ParseValue(ref reader));
            default:
                return reader.TokenType switch { JsonTokenType.True => true, JsonTokenType.False => false, _ => null };
        }
    }
}
