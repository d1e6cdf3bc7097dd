using System.Text;

namespace Peft.Formats;

/// <summary>Small pieces of English that messages share.</summary>
public static class Words
{
    /// <summary>A list to choose from: <c>a</c>, <c>a or b</c>, <c>a, b or c</c>.</summary>
    public static string OneOf(IReadOnlyList<string> choices) => Joined(choices, "or");

    /// <summary>A list of all: <c>a</c>, <c>a and b</c>, <c>a, b and c</c>.</summary>
    public static string AllOf(IReadOnlyList<string> items) => Joined(items, "and");

    /// <summary>A number with its noun: <c>1 row</c>, <c>2,000 rows</c>.</summary>
    /// <param name="count">How many.</param>
    /// <param name="noun">The noun in the singular.</param>
    /// <param name="plural">Its plural where an s does not make it.</param>
    public static string Count(long count, string noun, string? plural = null) =>
        string.Create(
            System.Globalization.CultureInfo.InvariantCulture,
            $"{count:N0} {(count == 1 ? noun : plural ?? noun + "s")}");

    private static string Joined(IReadOnlyList<string> items, string word) =>
        items.Count < 2 ? string.Concat(items) : $"{string.Join(", ", items.SkipLast(1))} {word} {items[^1]}";
}

/// <summary>Shows text that came from a file or the command line inside a message.</summary>
public static class Quote
{
    private const int Longest = 100;

    /// <summary>
    /// The text with control characters but the line's end escaped: what a stranger's file says cannot move the cursor
    /// or change colours of the terminal it is shown on.
    /// </summary>
    public static string Escaped(string text)
    {
        if (!text.Any(IsUnsafe))
            return text;
        var shown = new StringBuilder(text.Length + 16);
        foreach (var c in text)
        {
            if (IsUnsafe(c))
                shown.Append("\\u").Append(((int)c).ToString("x4"));
            else
                shown.Append(c);
        }

        return shown.ToString();
    }

    /// <summary>
    /// The text in single quotes, control characters escaped and the end cut off after 100 characters, so that a
    /// hostile
    /// name cannot disturb the terminal or drown the message.
    /// </summary>
    public static string Of(string text)
    {
        var shown = new StringBuilder("'");
        foreach (var c in text.AsSpan(0, Math.Min(text.Length, Longest)))
        {
            if (char.IsControl(c) || char.IsSurrogate(c) && text.Length > Longest)
                shown.Append("\\u").Append(((int)c).ToString("x4"));
            else
                shown.Append(c);
        }

        return shown.Append(text.Length > Longest ? "...'" : "'").ToString();
    }

    private static bool IsUnsafe(char c) => char.IsControl(c) && c is not ('\n' or '\t');
}
