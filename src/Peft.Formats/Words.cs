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
        string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{count:N0} {(count == 1 ? noun : plural ?? noun + "s")}");

    private static string Joined(IReadOnlyList<string> items, string word) =>
        items.Count < 2 ? string.Concat(items) : $"{string.Join(", ", items.SkipLast(1))} {word} {items[^1]}";
}
