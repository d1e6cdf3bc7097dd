using System.Runtime.CompilerServices;
using System.Text;

namespace Peft.Formats.Tokenizers;

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

    /// <summary>The end of the run of one class that continues at <paramref name="at"/>.</summary>
    protected static int RunEnd(ReadOnlySpan<byte> text, int at, CharacterClass kind)
    {
        while (at < text.Length && ClassAt(text, at, out var length) == kind)
            at += length;
        return at;
    }

    /// <summary>
    /// <c>\s+(?!\S)|\s+</c>: white space up to the end of the text, or all but its last character, which goes to the
    /// next word; a single one stands alone.
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

/// <summary>GPT-2's pattern, the one that ByteLevel applies with use_regex.</summary>
internal sealed class Gpt2Scanner : Utf8Scanner
{
    public const string Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    public static Gpt2Scanner Shared { get; } = new();

    public override int NextEnd(ReadOnlySpan<byte> text, int start)
    {
        if (text[start] == '\'' && ContractionLength(text[(start + 1)..]) is > 0 and var contraction)
            return start + 1 + contraction;
        var kind = ClassAt(text, start, out var length);
        var at = start + length;
        if (kind != CharacterClass.Space)
            return RunEnd(text, at, kind);
        if (text[start] == ' ' && at < text.Length
            && ClassAt(text, at, out length) is var next and not CharacterClass.Space)
            return RunEnd(text, at + length, next);
        return WhiteSpaceEnd(text, start, RunEnd(text, at, CharacterClass.Space));
    }

    private static int ContractionLength(ReadOnlySpan<byte> rest)
    {
        if (rest.IsEmpty)
            return 0;
        if (rest[0] is (byte)'s' or (byte)'t' or (byte)'m' or (byte)'d')
            return 1;
        return rest.StartsWith("re"u8) || rest.StartsWith("ve"u8) || rest.StartsWith("ll"u8) ? 2 : 0;
    }
}

/// <summary>The pattern of Llama 3 (numbers of up to three digits) and Qwen 2 (digits one by one).</summary>
internal sealed class Llama3Scanner(int mostDigits) : Utf8Scanner
{
    public const string Llama3Pattern =
        Before + @"\p{N}{1,3}" + After;

    public const string Qwen2Pattern =
        Before + @"\p{N}" + After;

    private const string Before = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
    private const string After = @"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    public override int NextEnd(ReadOnlySpan<byte> text, int start)
    {
        var first = text[start];
        if (first == '\'' && ContractionLength(text[(start + 1)..]) is > 0 and var contraction)
            return start + 1 + contraction;
        var kind = ClassAt(text, start, out var length);
        var at = start + length;
        if (kind == CharacterClass.Letter)
            return RunEnd(text, at, CharacterClass.Letter);
        if (kind == CharacterClass.Number)
            return NumberEnd(text, at);
        var next = at < text.Length ? ClassAt(text, at, out length) : CharacterClass.Space;
        if (next == CharacterClass.Letter && at < text.Length && !IsNewLine(first))
            return RunEnd(text, at + length, CharacterClass.Letter);
        if (kind == CharacterClass.Other)
            return SymbolsEnd(text, at);
        if (first == ' ' && next == CharacterClass.Other)
            return SymbolsEnd(text, at);
        return SpaceEnd(text, start);
    }

    private int NumberEnd(ReadOnlySpan<byte> text, int at)
    {
        for (var digits = 1; digits < mostDigits && at < text.Length; digits++)
        {
            if (ClassAt(text, at, out var length) != CharacterClass.Number)
                break;
            at += length;
        }

        return at;
    }

    private static int SymbolsEnd(ReadOnlySpan<byte> text, int at)
    {
        at = RunEnd(text, at, CharacterClass.Other);
        while (at < text.Length && IsNewLine(text[at]))
            at++;
        return at;
    }

    // \s*[\r\n]+ reaches to the last line break of the white space; without one the two other rules apply.
    private static int SpaceEnd(ReadOnlySpan<byte> text, int start)
    {
        var end = RunEnd(text, start, CharacterClass.Space);
        var lineBreak = text[start..end].LastIndexOfAny((byte)'\r', (byte)'\n');
        return lineBreak >= 0 ? start + lineBreak + 1 : WhiteSpaceEnd(text, start, end);
    }

    // Without regard to case; U+017F (long s) folds to s.
    private static int ContractionLength(ReadOnlySpan<byte> rest)
    {
        if (rest.IsEmpty)
            return 0;
        if ((char)(rest[0] | 0x20) is 's' or 't' or 'm' or 'd')
            return 1;
        if (rest.Length < 2)
            return 0;
        if (rest[0] == 0xC5 && rest[1] == 0xBF)
            return 2;
        return ((char)(rest[0] | 0x20), (char)(rest[1] | 0x20)) is ('r', 'e') or ('v', 'e') or ('l', 'l') ? 2 : 0;
    }

    private static bool IsNewLine(byte value) => value is (byte)'\r' or (byte)'\n';
}
