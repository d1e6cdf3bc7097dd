using Peft.Formats.Tokenizers.Normalizers;
using Peft.Formats.Tokenizers.PreTokenizers;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>Reads "normalizer".</summary>
internal static class NormalizerReader
{
    private const int LongestPrefix = 256;

    public static INormalizer Read(JsonPart part)
    {
        var steps = ReadSteps(part).ToList();
        ChainLimits.Require(part, steps.Count, steps.OfType<ReplaceNormalizer>().Select(step => step.Growth));
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
        var kind => throw part.Unsupported(
            kind, "choose a base model with such a tokenizer",
            "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend", "Replace", "Strip", "StripAccents",
            "BertNormalizer", "Sequence"),
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
        return text.Length > 0 ? text : throw pattern.Fault("an empty text", "a text to look for");
    }
}
