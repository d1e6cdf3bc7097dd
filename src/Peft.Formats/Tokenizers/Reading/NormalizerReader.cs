using Peft.Formats.Tokenizers.Normalizers;
using Peft.Formats.Tokenizers.PreTokenizers;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>Reads "normalizer".</summary>
internal static class NormalizerReader
{
    public static INormalizer Read(JsonPart part) => part.Type switch
    {
        "Sequence" => new SequenceNormalizer([.. part.Required("normalizers").Items().Select(Read)]),
        "NFC" or "NFD" or "NFKC" or "NFKD" => new FormNormalizer(part.Type),
        "Lowercase" => new LowercaseNormalizer(),
        "Prepend" => new PrependNormalizer(part.Required("prepend").Text()),
        "Replace" => ReadReplace(part),
        "Strip" => new StripNormalizer(part.Boolean("strip_left", true), part.Boolean("strip_right", true)),
        "StripAccents" => new StripAccentsNormalizer(),
        var kind => throw part.Unsupported(
            kind, "choose a base model with such a tokenizer",
            "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend", "Replace", "Strip", "StripAccents", "Sequence"),
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

    /// <summary>{"String": text} or {"Regex": text}.</summary>
    public static string ReadPattern(JsonPart pattern, out bool isRegex)
    {
        var regex = pattern.Optional("Regex");
        isRegex = regex is not null;
        var text = (regex ?? pattern.Required("String")).Text();
        return text.Length > 0 ? text : throw pattern.Fault("an empty text", "a text to look for");
    }
}
