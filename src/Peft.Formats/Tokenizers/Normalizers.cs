using System.Globalization;
using System.Text;

namespace Peft.Formats.Tokenizers;

/// <summary>Rewrites text before it is cut into words.</summary>
internal interface INormalizer
{
    SourceText Normalize(SourceText source);

    string Normalize(string text) => Normalize(new SourceText(text, isTracked: false)).Text;
}

/// <summary>Normalizers one after the other.</summary>
internal sealed class SequenceNormalizer(IReadOnlyList<INormalizer> normalizers) : INormalizer
{
    public SourceText Normalize(SourceText source)
    {
        foreach (var normalizer in normalizers)
            source = normalizer.Normalize(source);
        return source;
    }
}

/// <summary>NFC, NFD, NFKC and NFKD.</summary>
internal sealed class FormNormalizer(string form) : INormalizer
{
    private readonly UnicodeNormalizer _normalizer = UnicodeNormalizer.OfForm(form);

    public SourceText Normalize(SourceText source) => _normalizer.Normalize(source);
}

/// <summary>Lower case, character by character.</summary>
internal sealed class LowercaseNormalizer : INormalizer
{
    // The one character whose lower case is two: capital I with dot above.
    public SourceText Normalize(SourceText source)
    {
        var text = source.Replace("\u0130", "i\u0307");
        return text.WithCharacters(text.Text.ToLowerInvariant());
    }
}

/// <summary>Puts fixed content before a text that is not empty.</summary>
internal sealed class PrependNormalizer(string content) : INormalizer
{
    public SourceText Normalize(SourceText source) => source.Text.Length == 0 ? source : source.Prepend(content);
}

/// <summary>Replaces every occurrence of a fixed text, or every match of a regular expression.</summary>
internal sealed class ReplaceNormalizer(string? text, TokenizerRegex? regex, string content) : INormalizer
{
    /// <summary>How many times as long a text can become.</summary>
    public double Growth => Math.Max(1, (double)content.Length / (text?.Length ?? 1));

    public SourceText Normalize(SourceText source) =>
        text is not null ? source.Replace(text, content) : source.Replace(regex!.Matches(source.Text), content);
}

/// <summary>Removes white space from the ends.</summary>
internal sealed class StripNormalizer(bool left, bool right) : INormalizer
{
    public SourceText Normalize(SourceText source)
    {
        var end = right ? source.Text.AsSpan().TrimEnd().Length : source.Text.Length;
        var start = left ? end - source.Text.AsSpan(0, end).TrimStart().Length : 0;
        return source.Slice(start, end);
    }
}

/// <summary>
/// Removes combining marks; takes a decomposing normalizer before it to remove accents of composed letters.
/// </summary>
/// <param name="isAccent">Which code points count.</param>
internal sealed class StripAccentsNormalizer(Func<int, bool> isAccent) : INormalizer
{
    public static StripAccentsNormalizer AllMarks { get; } = new(CodePoints.IsMark);

    public SourceText Normalize(SourceText source) => source.Rewrite((result, rune, start, end) =>
    {
        if (!isAccent(rune.Value))
            result.Add(rune, start, end);
    });
}

/// <summary>
/// "BertNormalizer": control characters go and white space becomes spaces; ideographs become words of their own;
/// accents go; lower case. Each step can be left out.
/// </summary>
internal static class BertNormalizer
{
    public static IEnumerable<INormalizer> Steps(
        bool cleansText, bool separatesIdeographs, bool stripsAccents, bool lowers)
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
            && Rune.GetUnicodeCategory(rune)
                is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.PrivateUse;

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

/// <summary>Reads "normalizer".</summary>
internal static class NormalizerReader
{
    private const int LongestPrefix = 256;

    public static INormalizer Read(JsonPart part)
    {
        var steps = ReadSteps(part).ToList();
        ChainLimits.Require(part, steps.Count, steps.OfType<ReplaceNormalizer>().Select(step => step.Growth)
            .Concat(steps.OfType<PrecompiledNormalizer>().Select(step => step.Growth)));
        return new SequenceNormalizer(steps);
    }

    private static IEnumerable<INormalizer> ReadSteps(JsonPart part) => part.Type switch
    {
        "Sequence" => part.Required("normalizers").Items().SelectMany(ReadSteps),
        "BertNormalizer" => ReadBert(part),
        _ => [ReadStep(part)],
    };

    private static IEnumerable<INormalizer> ReadBert(JsonPart part)
    {
        var lowers = part.Boolean("lowercase", true);
        return BertNormalizer.Steps(
            part.Boolean("clean_text", true), part.Boolean("handle_chinese_chars", true),
            part.Boolean("strip_accents", lowers), lowers);
    }

    private static INormalizer ReadStep(JsonPart part) => part.Type switch
    {
        "NFC" or "NFD" or "NFKC" or "NFKD" => new FormNormalizer(part.Type),
        "Lowercase" => new LowercaseNormalizer(),
        "Prepend" => new PrependNormalizer(ReadPrefix(part.Required("prepend"))),
        "Replace" => ReadReplace(part),
        "Strip" => new StripNormalizer(part.Boolean("strip_left", true), part.Boolean("strip_right", true)),
        "StripAccents" => StripAccentsNormalizer.AllMarks,
        "Precompiled" => PrecompiledNormalizer.Read(part.Required("precompiled_charsmap")),
        var kind => throw part.Unsupported(
            kind, "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend", "Replace", "Strip", "StripAccents",
            "BertNormalizer", "Precompiled", "Sequence"),
    };

    /// <summary>"Replace", as normalizer and as decoder.</summary>
    public static ReplaceNormalizer ReadReplace(JsonPart part)
    {
        var content = part.Required("content").Text();
        var pattern = part.Required("pattern");
        return ReadPattern(pattern, out var isRegex) is var text && isRegex
            ? new ReplaceNormalizer(null, new TokenizerRegex(text, pattern.Place), content)
            : new ReplaceNormalizer(text, null, content);
    }

    private static string ReadPrefix(JsonPart part) => part.Text() is { Length: <= LongestPrefix } text
        ? text
        : throw part.Fault($"{part.Text().Length:N0} characters", $"at most {LongestPrefix}");

    /// <summary>{"String": text} or {"Regex": text}.</summary>
    public static string ReadPattern(JsonPart pattern, out bool isRegex)
    {
        var regex = pattern.Optional("Regex");
        isRegex = regex is not null;
        var text = (regex ?? pattern.Required("String")).Text();
        return text.Length > 0 ? text : throw pattern.Fault("an empty pattern", "a pattern of at least one character");
    }
}
