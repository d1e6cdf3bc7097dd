using System.Globalization;
using System.Text;
using Peft.Formats.Tokenizers.Sources;
using Peft.Formats.Tokenizers.Unicode;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>
/// "BertNormalizer": control characters go and white space becomes spaces; ideographs stand alone; accents go; lower
/// case. Each step can be left out.
/// </summary>
internal static class BertNormalizer
{
    public static IEnumerable<INormalizer> Steps(bool cleansText, bool separatesIdeographs, bool stripsAccents, bool lowers)
    {
        if (cleansText || separatesIdeographs)
            yield return new CharacterStep(cleansText, separatesIdeographs);
        if (stripsAccents)
        {
            yield return new FormNormalizer("NFD");
            yield return new StripAccentsNormalizer(IsAccent);
        }

        if (lowers)
            yield return new LowercaseNormalizer();
    }

    private static bool IsAccent(int codePoint) =>
        CodePoints.IsMark(codePoint) && CharUnicodeInfo.GetUnicodeCategory(codePoint) == UnicodeCategory.NonSpacingMark;

    // Tab and line breaks are control characters by category, and white space here. Unassigned ones stay.
    private static bool IsRemoved(Rune rune) =>
        rune.Value is 0 or 0xFFFD
        || rune.Value is not ('\t' or '\n' or '\r')
            && Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.PrivateUse;

    // The original's ranges: the gap after U+2B81F is its own.
    private static bool IsIdeograph(int codePoint) => codePoint
        is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF)
        or (>= 0x2A700 and <= 0x2B73F) or (>= 0x2B740 and <= 0x2B81F) or (>= 0x2B920 and <= 0x2CEAF)
        or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F);

    private sealed class CharacterStep(bool cleansText, bool separatesIdeographs) : INormalizer
    {
        public SourceText Normalize(SourceText source) => source.Rewrite((result, rune, start, end) =>
        {
            if (cleansText && IsRemoved(rune))
                return;
            var isIdeograph = separatesIdeographs && IsIdeograph(rune.Value);
            if (isIdeograph)
                result.Add(" ", start, end);
            result.Add(cleansText && CodePoints.IsWhiteSpace(rune.Value) ? new Rune(' ') : rune, start, end);
            if (isIdeograph)
                result.Add(" ", start, end);
        });
    }
}
