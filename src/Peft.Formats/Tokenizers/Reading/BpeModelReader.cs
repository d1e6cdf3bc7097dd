using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Peft.Formats.Tokenizers.Models;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>Reads the "model" of a tokenizer file.</summary>
internal static class BpeModelReader
{
    private const string Supported =
        "supported: BPE (byte-level as in GPT-2, Llama 3, Qwen; with byte fallback as in Llama 2, Mistral)";

    /// <param name="parts">The model's values by key, as JSON.</param>
    /// <param name="place">For messages.</param>
    public static BpeModel Read(Dictionary<string, ReadOnlyMemory<byte>> parts, string place)
    {
        CheckKind(parts, place);
        foreach (var key in new[] { "vocab", "merges" })
        {
            if (!parts.ContainsKey(key))
                throw new TokenizerFileException(MessageText.Of(place, $"no \"{key}\"", "a BPE model with vocab and merges"));
        }

        RefuseUnsupported(parts, place);
        var vocabulary = ReadVocabulary(parts["vocab"].Span, $"{place}.vocab");
        var merges = MergesReader.Read(parts["merges"].Span, vocabulary, $"{place}.merges", out var joinWords);
        var options = new BpeOptions(
            ReadUnknown(parts, vocabulary, place),
            Flag(parts, "fuse_unk", place), Flag(parts, "byte_fallback", place), Flag(parts, "ignore_merges", place));
        return new BpeModel(vocabulary, merges, joinWords, options);
    }

    private static void CheckKind(Dictionary<string, ReadOnlyMemory<byte>> parts, string place)
    {
        // Old files name no type; then the keys tell.
        var kind = parts.TryGetValue("type", out var type) ? JsonPart.Parse(type, $"{place}.type").Text()
            : parts.ContainsKey("merges") ? "BPE"
            : parts.ContainsKey("max_input_chars_per_word") ? "WordPiece"
            : parts.ContainsKey("unk_id") ? "Unigram"
            : parts.ContainsKey("vocab") ? "WordLevel" : "BPE";
        if (kind != "BPE")
        {
            throw new TokenizerFileException(
                MessageText.Of($"{place}.type", Quote.Of(kind), Supported, "choose a base model with such a tokenizer"));
        }
    }

    private static void RefuseUnsupported(Dictionary<string, ReadOnlyMemory<byte>> parts, string place)
    {
        foreach (var key in new[] { "continuing_subword_prefix", "end_of_word_suffix" })
        {
            if (Optional(parts, key, place) is { } affix && affix.Text().Length > 0)
                throw affix.Fault(Quote.Of(affix.Text()), "null or empty: affixes are not supported");
        }

        if (Optional(parts, "dropout", place) is { } dropout
            && !(dropout.Element.ValueKind == JsonValueKind.Number && dropout.Element.GetDouble() == 0))
            throw dropout.Fault(Quote.Of(dropout.Element.GetRawText()), "null or 0: encoding at random is not supported");
    }

    private static int? ReadUnknown(
        Dictionary<string, ReadOnlyMemory<byte>> parts, TokenVocabulary vocabulary, string place)
    {
        if (Optional(parts, "unk_token", place) is not { } part)
            return null;
        var id = vocabulary.Find(part.Text());
        return id >= 0 ? id : throw part.Fault(Quote.Of(part.Text()), "a token of the vocabulary, or null");
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static TokenVocabulary ReadVocabulary(ReadOnlySpan<byte> json, string place)
    {
        var vocabulary = new TokenVocabulary();
        var reader = new Utf8JsonReader(json);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new TokenizerFileException(MessageText.Of(place, "no object", "an object of tokens and their ids"));
        var unescaped = Array.Empty<byte>();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var token = JsonText.Utf8Of(ref reader, ref unescaped, place);
            reader.Read();
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt32(out var id) || id < 0
                || id > TokenVocabulary.HighestAllowedId)
            {
                throw new TokenizerFileException(MessageText.Of(
                    $"{place}.{Quote.Of(Encoding.UTF8.GetString(token))}",
                    $"the id {Quote.Of(Encoding.UTF8.GetString(reader.ValueSpan))}",
                    $"a whole number from 0 to {TokenVocabulary.HighestAllowedId}"));
            }

            if (!vocabulary.TryAdd(token, id))
            {
                var found = vocabulary.Contains(id)
                    ? $"the id {id}, which {Quote.Of(vocabulary.TextOf(id))} has already" : "the same token before";
                throw new TokenizerFileException(MessageText.Of(
                    $"{place}.{Quote.Of(Encoding.UTF8.GetString(token))}", found, "each token and each id once"));
            }
        }

        return vocabulary;
    }

    private static bool Flag(Dictionary<string, ReadOnlyMemory<byte>> parts, string key, string place) =>
        Optional(parts, key, place) is { } part && part.Element.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw part.Fault(Quote.Of(part.Element.GetRawText()), "true or false"),
        };

    private static JsonPart? Optional(Dictionary<string, ReadOnlyMemory<byte>> parts, string key, string place) =>
        parts.TryGetValue(key, out var json) && JsonPart.Parse(json, $"{place}.{key}") is { IsNull: false } part ? part : null;
}
