namespace Peft.Prepare.Texts;

/// <summary>
/// Orders names by code units, and runs of digits in them by their number: <c>doc-2</c> before <c>doc-10</c>.
/// </summary>
internal sealed class NaturalOrder : IComparer<string>
{
    /// <summary>The only one.</summary>
    public static NaturalOrder Instance { get; } = new();

    /// <inheritdoc/>
    public int Compare(string? x, string? y)
    {
        ReadOnlySpan<char> left = x;
        ReadOnlySpan<char> right = y;
        while (!left.IsEmpty && !right.IsEmpty)
        {
            var first = Part(left);
            var second = Part(right);
            var order = char.IsAsciiDigit(first[0]) && char.IsAsciiDigit(second[0])
                ? CompareNumbers(first, second)
                : first.SequenceCompareTo(second);
            if (order != 0)
                return order;
            left = left[first.Length..];
            right = right[second.Length..];
        }

        return left.Length.CompareTo(right.Length);
    }

    // A whole run of digits, else one character.
    private static ReadOnlySpan<char> Part(ReadOnlySpan<char> text)
    {
        var digits = text.IndexOfAnyExceptInRange('0', '9');
        return digits == 0 ? text[..1] : digits < 0 ? text : text[..digits];
    }

    private static int CompareNumbers(ReadOnlySpan<char> x, ReadOnlySpan<char> y)
    {
        var left = x.TrimStart('0');
        var right = y.TrimStart('0');
        var order = left.Length.CompareTo(right.Length);
        return order != 0 ? order : left.SequenceCompareTo(right);
    }
}
