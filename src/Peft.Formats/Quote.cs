using System.Text;

namespace Peft.Formats;

/// <summary>Shows text that came from a file or the command line inside a message.</summary>
public static class Quote
{
    private const int Longest = 100;

    /// <summary>
    /// The text with control characters but the line's end escaped: what a stranger's file says cannot move the cursor or change
    /// colours of the terminal it is shown on.
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
