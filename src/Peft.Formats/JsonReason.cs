using System.Text.Json;

namespace Peft.Formats;

/// <summary>What was wrong with a JSON text, in words for people: no names of types, lines counted from one.</summary>
public static class JsonReason
{
    private const string MissingKeys = "including: ";

    /// <summary>The line, and what stands there.</summary>
    public static string Of(JsonException error)
    {
        // The parser's text ends with its own account of the place.
        var text = error.Message.Split(" Path:")[0].Split(" LineNumber:")[0].TrimEnd('.');
        var missing = text.IndexOf(MissingKeys, StringComparison.Ordinal);
        var reason = missing >= 0 ? "keys are missing: " + text[(missing + MissingKeys.Length)..]
            : text.Contains("could not be converted", StringComparison.Ordinal) ? "a value of another kind"
            : text;
        var key = error.Path is { Length: > 2 } path ? $" at {Quote.Of(path[2..])}" : "";
        return error.LineNumber is { } line ? $"line {line + 1}{key}: {reason}" : reason + key;
    }
}
