using Peft.Formats.Tokenizers.Unicode;

namespace Peft.Formats.Tokenizers.PreTokenizers;

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
        if (text[start] == ' ' && at < text.Length && ClassAt(text, at, out length) is var next and not CharacterClass.Space)
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
