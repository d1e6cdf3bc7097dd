using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace Peft.Formats.Files;

/// <summary>
/// The one way in which JSON that somebody else may have written becomes objects: the size is checked first, a byte
/// order mark is passed over, and every name and text must be Unicode. The serializer by itself throws
/// <see cref="InvalidOperationException"/> over broken UTF-8 and lone surrogates, in some readers only when a text is
/// used. Trees that know their lines are read by <c>Configuration/ConfigJson</c>, which holds to the same rules.
/// </summary>
public static class JsonFile
{
    private const string MissingKeys = "including: ";

    /// <summary>A file of one JSON value.</summary>
    /// <param name="path">The file.</param>
    /// <param name="limit">The most bytes that it may have.</param>
    /// <param name="options">How objects are read; name the policies, converters and strictness that the file
    /// needs.</param>
    /// <param name="expected">What the file should be, as words that follow "expected".</param>
    /// <param name="advice">What to do when it is not.</param>
    /// <exception cref="UserException">The file is missing, too large, not JSON, not Unicode or not a <typeparamref
    /// name="T"/>; null counts as none.</exception>
    public static T Read<T>(
        string path, long limit, JsonSerializerOptions options, string expected, string? advice = null)
    {
        var bytes = BoundedFile.ReadAllBytes(path, limit);
        try
        {
            return Parse<T>(bytes, options);
        }
        catch (JsonException error)
        {
            throw UserException.At(path, $"cannot be read ({Reason(error)})", expected, advice, error);
        }
    }

    /// <summary>One JSON value in UTF-8, with or without a byte order mark.</summary>
    /// <exception cref="JsonException">It is not JSON, not Unicode or not a <typeparamref name="T"/>; null counts as
    /// none.</exception>
    public static T Parse<T>(ReadOnlySpan<byte> json, JsonSerializerOptions options)
    {
        if (json.StartsWith("\uFEFF"u8))
            json = json[3..];
        RequireUnicode(json, options);
        return JsonSerializer.Deserialize<T>(json, options) ?? throw new JsonException("the value is null");
    }

    /// <summary>A line of a log; false where it is not JSON (cut short by a crash), not Unicode or not a
    /// <typeparamref name="T"/>.</summary>
    public static bool TryParse<T>(string line, JsonSerializerOptions options, [NotNullWhen(true)] out T? value)
    {
        try
        {
            value = Parse<T>(Encoding.UTF8.GetBytes(line), options)!;
            return true;
        }
        catch (JsonException)
        {
            value = default;
            return false;
        }
    }

    /// <summary>What is wrong with a JSON text, in words for people: no names of types, lines counted from 1.</summary>
    public static string Reason(JsonException error)
    {
        var key = error.Path is { Length: > 2 } path ? $" at {Quote.Of(path[2..])}" : "";
        return error.LineNumber is { } line ? $"line {line + 1}{key}: {Words(error)}" : Words(error) + key;
    }

    /// <summary>The same without the place.</summary>
    internal static string Words(JsonException error)
    {
        // The parser's text ends with its own account of the place, and speaks to programmers.
        var text = error.Message.Split(" Path:")[0].Split(" LineNumber:")[0].TrimEnd('.');
        bool Says(string words) => text.Contains(words, StringComparison.OrdinalIgnoreCase);
        return Says(MissingKeys)
            ? "keys are missing: " + text[(text.IndexOf(MissingKeys, StringComparison.Ordinal) + MissingKeys.Length)..]
            : Says("could not be converted") ? "a value of another type"
            : Says("trailing comma") ? "a comma before the closing bracket"
            : Says("does not contain any JSON tokens") ? "there is no JSON"
            : Says("depth to be zero") ? "an object or list is not closed"
            : Says("configured depth") ? "objects and lists are nested too deeply"
            : Says("duplicate propert") ? "a key is set twice"
            : text.Split(". ")[0];
    }

    // One walk over all tokens; what lies under ignored names is looked at too.
    private static void RequireUnicode(ReadOnlySpan<byte> json, JsonSerializerOptions options)
    {
        var reader = new Utf8JsonReader(json, new JsonReaderOptions
        {
            MaxDepth = options.MaxDepth,
            CommentHandling = options.ReadCommentHandling,
            AllowTrailingCommas = options.AllowTrailingCommas,
        });
        while (reader.Read())
        {
            if (reader.TokenType is not (JsonTokenType.String or JsonTokenType.PropertyName))
                continue;
            if (!Utf8.IsValid(reader.ValueSpan) || reader.ValueIsEscaped && !IsUnicode(ref reader))
            {
                var line = json[..(int)reader.TokenStartIndex].Count((byte)'\n');
                throw new JsonException("a text that is not valid Unicode; save the file as UTF-8", null, line, null);
            }
        }
    }

    private static bool IsUnicode(ref Utf8JsonReader reader)
    {
        try
        {
            _ = reader.GetString();
            return true;
        }
        catch (InvalidOperationException)
        {
            return false; // an escape of half a surrogate pair
        }
    }
}
