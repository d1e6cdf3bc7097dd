using System.Text;

namespace Peft.Prepare.Texts;

/// <summary>
/// White space as the data sets have always had it: Unicode's, with the byte order mark and without NEL (U+0085),
/// which is ECMAScript's. .NET's own <c>Trim</c> and <c>\s</c> differ in these two, so they are not used on corpora.
/// </summary>
internal static class WhiteSpace
{
    /// <summary>The same characters as a class of a regular expression.</summary>
    public const string Class = @"[\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]";

    /// <summary>True for a white space character.</summary>
    public static bool Has(char character) =>
        character == '\ufeff' || (char.IsWhiteSpace(character) && character != '\u0085');

    /// <summary>The text without white space at both ends.</summary>
    public static string Trim(string text)
    {
        var start = 0;
        var end = text.Length;
        while (start < end && Has(text[start]))
            start++;
        while (end > start && Has(text[end - 1]))
            end--;
        return text[start..end];
    }

    /// <summary>The text without white space at both ends and with one space for each run of it inside.</summary>
    public static string Collapse(string text)
    {
        var result = new StringBuilder(text.Length);
        var isPending = false;
        foreach (var character in text)
        {
            if (Has(character))
            {
                isPending = result.Length > 0;
                continue;
            }

            if (isPending)
                result.Append(' ');
            isPending = false;
            result.Append(character);
        }

        return result.ToString();
    }

    /// <summary>The words between white space, none of them empty.</summary>
    public static IEnumerable<string> Words(string text)
    {
        var start = 0;
        for (var i = 0; i <= text.Length; i++)
        {
            if (i < text.Length && !Has(text[i]))
                continue;
            if (i > start)
                yield return text[start..i];
            start = i + 1;
        }
    }
}
