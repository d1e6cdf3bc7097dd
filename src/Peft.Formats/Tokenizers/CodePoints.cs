using System.Globalization;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// The classes of characters that pre-tokenizers ask about, by code point (supplementary planes included).
/// </summary>
internal static class CodePoints
{
    private static readonly byte[] Basic = MakeBasic();

    /// <summary>Letter (\p{L}), number (\p{N}), white space (\s) or none of these.</summary>
    public static CharacterClass ClassOf(int codePoint) =>
        codePoint < Basic.Length ? (CharacterClass)Basic[codePoint] : Classify(codePoint);

    public static bool IsWhiteSpace(int codePoint) => ClassOf(codePoint) == CharacterClass.Space;

    public static bool IsNumber(int codePoint) => ClassOf(codePoint) == CharacterClass.Number;

    /// <summary>ASCII punctuation (with its symbols) or \p{P}.</summary>
    public static bool IsPunctuation(int codePoint) => NormalizationData.Shared.IsPunctuation(codePoint);

    public static bool IsMark(int codePoint) => codePoint >= 0x300 && NormalizationData.Shared.IsMark(codePoint);

    /// <summary>Unicode's \w: alphabetic, mark, decimal digit, connector punctuation, join control.</summary>
    public static bool IsWord(int codePoint) => CharUnicodeInfo.GetUnicodeCategory(codePoint) switch
    {
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
            or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter or UnicodeCategory.LetterNumber
            or UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark
            or UnicodeCategory.DecimalDigitNumber or UnicodeCategory.ConnectorPunctuation => true,
        // Circled and squared letters are symbols by category and alphabetic by property.
        UnicodeCategory.OtherSymbol => codePoint is (>= 0x24B6 and <= 0x24E9) or (>= 0x1F130 and <= 0x1F149)
            or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189),
        _ => codePoint is 0x200C or 0x200D,
    };

    private static byte[] MakeBasic()
    {
        var classes = new byte[char.MaxValue + 1];
        for (var codePoint = 0; codePoint < classes.Length; codePoint++)
            classes[codePoint] = (byte)Classify(codePoint);
        return classes;
    }

    private static CharacterClass Classify(int codePoint) => CharUnicodeInfo.GetUnicodeCategory(codePoint) switch
    {
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
            or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => CharacterClass.Letter,
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber
            => CharacterClass.Number,
        UnicodeCategory.SpaceSeparator or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
            => CharacterClass.Space,
        _ => codePoint is (>= '\t' and <= '\r') or 0x85 ? CharacterClass.Space : CharacterClass.Other,
    };
}

/// <summary>The four classes into which the known pre-tokenizer patterns divide all characters.</summary>
internal enum CharacterClass : byte
{
    Other,
    Letter,
    Number,
    Space,
}
