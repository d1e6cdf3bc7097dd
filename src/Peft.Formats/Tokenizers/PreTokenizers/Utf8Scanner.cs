using System.Runtime.CompilerServices;
using System.Text;
using Peft.Formats.Tokenizers.Unicode;

namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>
/// A splitting pattern written by hand over UTF-8: works on code points (a regular expression on UTF-16 would take a
/// letter of a supplementary plane for two symbols), never looks at a character more than a fixed number of times.
/// </summary>
internal abstract class Utf8Scanner
{
    /// <summary>
    /// Where the word that starts at <paramref name="start"/> ends. <paramref name="start"/> is before the end.
    /// </summary>
    public abstract int NextEnd(ReadOnlySpan<byte> text, int start);

    /// <summary>Class and length in bytes of the character at a place.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    protected static CharacterClass ClassAt(ReadOnlySpan<byte> text, int at, out int length)
    {
        var first = text[at];
        if (first < 128)
        {
            length = 1;
            return CodePoints.ClassOf(first);
        }

        Rune.DecodeFromUtf8(text[at..], out var rune, out length);
        return CodePoints.ClassOf(rune.Value);
    }

    /// <summary>The end of the run of one class that goes on at <paramref name="at"/>.</summary>
    protected static int RunEnd(ReadOnlySpan<byte> text, int at, CharacterClass kind)
    {
        while (at < text.Length && ClassAt(text, at, out var length) == kind)
            at += length;
        return at;
    }

    /// <summary>
    /// <c>\s+(?!\S)|\s+</c>: white space up to the end of the text, or all but its last character, which goes to the next
    /// word; a single one stands alone.
    /// </summary>
    protected static int WhiteSpaceEnd(ReadOnlySpan<byte> text, int start, int runEnd)
    {
        if (runEnd == text.Length)
            return runEnd;
        var last = runEnd - 1;
        while ((text[last] & 0xC0) == 0x80)
            last--;
        return last > start ? last : runEnd;
    }
}
