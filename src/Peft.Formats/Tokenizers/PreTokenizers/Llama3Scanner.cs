using Peft.Formats.Tokenizers.Unicode;

namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>The pattern of Llama 3 (numbers of up to three digits) and Qwen 2 (digits one by one).</summary>
internal sealed class Llama3Scanner(int mostDigits) : Utf8Scanner
{
    public const string Llama3Pattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    public const string Qwen2Pattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

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
