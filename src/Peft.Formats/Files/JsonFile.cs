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
        try
        {
            RequireUnicode(json, options);
            return JsonSerializer.Deserialize<T>(json, options) ?? throw new JsonException("the value is null");
        }
        catch (JsonException error)
        {
            throw JsonDialect.Explained(json, error);
        }
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

    /// <summary>What is wrong with a JSON text that something else than <see cref="Parse"/> read.</summary>
    /// <param name="error">The parser's error.</param>
    /// <param name="json">What it read, without a byte order mark.</param>
    public static string Reason(JsonException error, ReadOnlySpan<byte> json) =>
        Reason(JsonDialect.Explained(json, error));

    /// <summary>The same where the place in the text is known.</summary>
    public static string Reason(JsonException error, ReadOnlySpan<byte> json, int at) =>
        Reason(JsonDialect.Explained(json, at, error));

    /// <summary>What is wrong with a JSON text, in words for people: no names of types, lines counted from 1.</summary>
    public static string Reason(JsonException error)
    {
        var key = error.Path is { Length: > 2 } path ? $" at {Quote.Of(path[2..])}" : "";
        return error.LineNumber is { } line ? $"line {line + 1}{key}: {Words(error)}" : Words(error) + key;
    }

    /// <summary>The same without the place.</summary>
    public static string Words(JsonException error)
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
            : Says("is invalid after a value") ? "a comma or a closing bracket is missing"
            : Says("after a single JSON value") ? "something follows the end of the JSON"
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

/// <summary>
/// What other languages write where JSON writes something else, and what that is: NaN, Python's None and quotes,
/// JavaScript's comments. The parser itself only tells the character at which it gave up.
/// </summary>
internal static class JsonDialect
{
    private const int LongestWord = 40;

    private static readonly Dictionary<string, string> Words = new(StringComparer.OrdinalIgnoreCase)
    {
        ["nan"] = "null", ["inf"] = "null", ["infinity"] = "null", ["none"] = "null", ["undefined"] = "null",
        ["null"] = "null", ["true"] = "true", ["false"] = "false",
    };

    /// <summary>The same error in words that say what to write, where that can be told.</summary>
    /// <param name="json">What was read.</param>
    /// <param name="error">The parser's error.</param>
    public static JsonException Explained(ReadOnlySpan<byte> json, JsonException error) =>
        error is { LineNumber: { } line, BytePositionInLine: { } column }
            ? Explained(json, LineStart(json, line) + column, error)
            : error;

    /// <summary>The same where the place in the text is known.</summary>
    public static JsonException Explained(ReadOnlySpan<byte> json, long at, JsonException error) =>
        at >= 0 && at < json.Length && Of(json, (int)at, error.Message) is { } words
            ? new JsonException(words, error.Path, error.LineNumber, error.BytePositionInLine, error)
            : error;

    private static long LineStart(ReadOnlySpan<byte> json, long line)
    {
        var start = 0;
        for (; line > 0 && json[start..].IndexOf((byte)'\n') is >= 0 and var end; line--)
            start += end + 1;
        return line > 0 ? json.Length : start;
    }

    private static string? Of(ReadOnlySpan<byte> json, int at, string message)
    {
        bool Says(string words) => message.Contains(words, StringComparison.OrdinalIgnoreCase);
        if (Says("within a JSON string") && json[at] is (byte)'\n' or (byte)'\r' or (byte)'\t')
            return json[at] == '\t' ? "a tab inside a text, for which JSON writes \\t"
                : "a line break inside a text, for which JSON writes \\n";
        if (Says("escapable character"))
            return "a backslash inside a text, for which JSON writes \\\\";
        if (Says("within a JSON string") || Says("trailing comma"))
            return null;
        var rest = json[at..];
        if (rest[0] == '\'')
            return "a single quote, for which JSON writes \"";
        if (rest[0] is (byte)'/' or (byte)'#')
            return "a comment, which JSON does not have: remove it";
        if (rest.StartsWith("\uFEFF"u8))
            return "a byte order mark inside the text: remove it";
        if (rest.StartsWith("\u2018"u8) || rest.StartsWith("\u2019"u8) || rest.StartsWith("\u201C"u8)
            || rest.StartsWith("\u201D"u8))
            return "a curly quote, for which JSON writes \"";
        return OfWord(WordAt(json, at), Says("property name. Expected a '\"'"));
    }

    private static string? OfWord(string word, bool isKey)
    {
        if (word.Length == 0)
            return null;
        if (isKey)
            return $"the key {word} without quotes, for which JSON writes \"{word}\"";
        if (Words.TryGetValue(word.TrimStart('-', '+'), out var written) && word != written)
            return $"{word}, for which JSON writes {written}";
        return char.IsAsciiLetter(word[0]) || word[0] == '_'
            ? $"the word {word} without quotes, for which JSON writes \"{word}\""
            : $"{word}, where JSON writes numbers like 10, 0.5 or 1e-3";
    }

    // Whole, also where the parser gave up in its middle; empty where there is none, or the text ends with it.
    private static string WordAt(ReadOnlySpan<byte> json, int at)
    {
        var (from, to) = (at, at);
        while (from > 0 && at - from < LongestWord && IsOfWord(json[from - 1]))
            from--;
        while (to < json.Length && to - at < LongestWord && IsOfWord(json[to]))
            to++;
        return to == json.Length || to == at ? "" : Encoding.ASCII.GetString(json[from..to]);
    }

    private static bool IsOfWord(byte c) =>
        char.IsAsciiLetterOrDigit((char)c) || c is (byte)'_' or (byte)'-' or (byte)'+' or (byte)'.';
}
