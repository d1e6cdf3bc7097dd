using System.Text.Json;
using Peft.Formats.Tokenizers.Models;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>Reads a BPE "model" of a tokenizer file.</summary>
internal static class BpeModelReader
{
    /// <param name="parts">The model's values by key, as JSON.</param>
    /// <param name="place">For messages.</param>
    public static BpeModel Read(Dictionary<string, ReadOnlyMemory<byte>> parts, string place)
    {
        ModelReader.Require(parts, place, "a BPE model with vocab and merges", "vocab", "merges");
        RefuseUnsupported(parts, place);
        var vocabulary = VocabularyReader.Read(parts["vocab"].Span, $"{place}.vocab");
        var merges = MergesReader.Read(parts["merges"].Span, vocabulary, $"{place}.merges", out var joinWords);
        var options = new BpeRules(
            ReadUnknown(parts, vocabulary, place),
            Flag(parts, "fuse_unk", place), Flag(parts, "byte_fallback", place), Flag(parts, "ignore_merges", place));
        return new BpeModel(vocabulary, merges, joinWords, options);
    }

    private static void RefuseUnsupported(Dictionary<string, ReadOnlyMemory<byte>> parts, string place)
    {
        foreach (var key in new[] { "continuing_subword_prefix", "end_of_word_suffix" })
        {
            if (ModelReader.Optional(parts, key, place) is { } affix && affix.Text().Length > 0)
                throw affix.Fault(Quote.Of(affix.Text()), "null or empty: affixes are not supported");
        }

        if (ModelReader.Optional(parts, "dropout", place) is { } dropout
            && !(dropout.Element.ValueKind == JsonValueKind.Number && dropout.Element.GetDouble() == 0))
            throw dropout.Fault(Quote.Of(dropout.Element.GetRawText()), "null or 0: encoding at random is not supported");
    }

    private static int? ReadUnknown(
        Dictionary<string, ReadOnlyMemory<byte>> parts, TokenVocabulary vocabulary, string place)
    {
        if (ModelReader.Optional(parts, "unk_token", place) is not { } part)
            return null;
        var id = vocabulary.Find(part.Text());
        return id >= 0 ? id : throw part.Fault(Quote.Of(part.Text()), "a token of the vocabulary, or null");
    }

    private static bool Flag(Dictionary<string, ReadOnlyMemory<byte>> parts, string key, string place) =>
        ModelReader.Optional(parts, key, place) is { } part && part.Element.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw part.Fault(Quote.Of(part.Element.GetRawText()), "true or false"),
        };
}
