using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;

namespace Peft.Formats.Tokenizers;

/// <summary>Reads the "model" of a tokenizer file.</summary>
internal static class ModelReader
{
    /// <param name="parts">The model's values by key, as JSON.</param>
    /// <param name="place">For messages.</param>
    public static WordModel Read(Dictionary<string, ReadOnlyMemory<byte>> parts, string place)
    {
        // Old files name no type; then the keys tell.
        var kind = parts.TryGetValue("type", out var type) ? JsonPart.Parse(type, $"{place}.type").Text()
            : parts.ContainsKey("merges") ? "BPE"
            : parts.ContainsKey("max_input_chars_per_word") ? "WordPiece"
            : parts.ContainsKey("unk_id") ? "Unigram"
            : parts.ContainsKey("vocab") ? "WordLevel" : "BPE";
        return kind switch
        {
            "BPE" => BpeModelReader.Read(parts, place),
            "WordPiece" => WordPieceModelReader.Read(parts, place),
            "Unigram" => UnigramModelReader.Read(parts, place),
            _ => throw UserException.At(
                $"{place}.type", $"{Quote.Of(kind)} is not supported",
                "BPE (byte-level as in GPT-2, Llama 3 and Qwen, or with byte fallback as in Llama 2 and Mistral), "
                    + "Unigram (as in T5) or WordPiece (as in BERT)",
                "choose a base model with such a tokenizer"),
        };
    }

    public static void Require(
        Dictionary<string, ReadOnlyMemory<byte>> parts, string place, string expected, params string[] keys)
    {
        foreach (var key in keys)
        {
            if (!parts.ContainsKey(key))
                throw UserException.At(place, $"no \"{key}\"", expected);
        }
    }

    /// <summary>The value of a key; null where it is missing or null.</summary>
    public static JsonPart? Optional(Dictionary<string, ReadOnlyMemory<byte>> parts, string key, string place) =>
        parts.TryGetValue(key, out var json) && JsonPart.Parse(json, $"{place}.{key}") is { IsNull: false } part
            ? part
            : null;
}

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
                throw affix.Fault(
                    $"{Quote.Of(affix.Text())}, and affixes are not supported", "null or an empty string");
        }

        if (ModelReader.Optional(parts, "dropout", place) is { } dropout
            && !(dropout.Element.ValueKind == JsonValueKind.Number && dropout.Element.GetDouble() == 0))
            throw dropout.Fault(
                $"{Quote.Of(dropout.Element.GetRawText())}, and BPE dropout is not supported", "null or 0");
    }

    private static int? ReadUnknown(
        Dictionary<string, ReadOnlyMemory<byte>> parts, TokenVocabulary vocabulary, string place)
    {
        if (ModelReader.Optional(parts, "unk_token", place) is not { } part)
            return null;
        var id = vocabulary.Find(part.Text());
        return id >= 0 ? id : throw part.Fault(Quote.Of(part.Text()), "a token of the vocabulary or null");
    }

    private static bool Flag(Dictionary<string, ReadOnlyMemory<byte>> parts, string key, string place) =>
        ModelReader.Optional(parts, key, place)?.Boolean() ?? false;
}

/// <summary>Reads a WordPiece "model" of a tokenizer file.</summary>
internal static class WordPieceModelReader
{
    /// <param name="parts">The model's values by key, as JSON.</param>
    /// <param name="place">For messages.</param>
    public static WordPieceModel Read(Dictionary<string, ReadOnlyMemory<byte>> parts, string place)
    {
        ModelReader.Require(parts, place, "a WordPiece model with vocab and unk_token", "vocab", "unk_token");
        var vocabulary = VocabularyReader.Read(parts["vocab"].Span, $"{place}.vocab");
        for (var id = 0; id < vocabulary.EndId; id++)
        {
            if (vocabulary.Contains(id) && vocabulary.Utf8Of(id).IndexOfAny((byte)'\n', (byte)'\r') >= 0)
            {
                throw UserException.At(
                    $"{place}.vocab.{Quote.Of(vocabulary.TextOf(id))}", "a line break", "tokens without line breaks");
            }
        }

        var unknown = JsonPart.Parse(parts["unk_token"], $"{place}.unk_token");
        var unknownId = vocabulary.Find(unknown.Text());
        if (unknownId < 0 || unknown.Text().Length == 0)
            throw unknown.Fault(Quote.Of(unknown.Text()), "a token of the vocabulary");
        return new WordPieceModel(vocabulary, new WordPieceRules(
            unknownId,
            ModelReader.Optional(parts, "continuing_subword_prefix", place)?.Text() ?? "##",
            ModelReader.Optional(parts, "max_input_chars_per_word", place)?.Integer(1, WordPieceRules.MostCharacters)
                ?? 100));
    }
}

/// <summary>Reads a Unigram "model" of a tokenizer file: its "vocab" is a list of [token, score].</summary>
internal static class UnigramModelReader
{
    /// <param name="parts">The model's values by key, as JSON.</param>
    /// <param name="place">For messages.</param>
    public static UnigramModel Read(Dictionary<string, ReadOnlyMemory<byte>> parts, string place)
    {
        ModelReader.Require(parts, place, "a Unigram model with vocab and unk_id", "vocab", "unk_id");
        var vocabulary = new TokenVocabulary();
        var scores = new List<double>();
        var bytes = 0L;
        foreach (var item in JsonPart.Parse(parts["vocab"], $"{place}.vocab").Items())
        {
            var pair = item.Items().ToList();
            if (pair.Count != 2 || pair[1].Element.ValueKind != JsonValueKind.Number
                || !pair[1].Element.TryGetDouble(out var score) || !double.IsFinite(score))
                throw item.Fault("not a token with a score", "[token, number]");
            var token = Encoding.UTF8.GetBytes(pair[0].Text());
            bytes += token.Length;
            if (scores.Count > TokenVocabulary.HighestAllowedId || bytes > UnigramModel.MostBytes)
                throw item.Fault("too many tokens", $"at most {UnigramModel.MostBytes:N0} bytes of them");
            if (!vocabulary.TryAdd(token, scores.Count))
                throw item.Fault($"{Quote.Of(pair[0].Text())} is listed twice", "every token once");
            scores.Add(score);
        }

        var unknown = JsonPart.Parse(parts["unk_id"], $"{place}.unk_id");
        if (scores.Count == 0)
            throw UserException.At($"{place}.vocab", "no tokens", "a list of [token, score]");
        return new UnigramModel(vocabulary, new UnigramRules(
            [.. scores], unknown.Integer(0, scores.Count - 1),
            ModelReader.Optional(parts, "byte_fallback", place)?.Boolean() ?? false));
    }
}

/// <summary>Reads "vocab": an object of tokens and their ids.</summary>
internal static class VocabularyReader
{
    public static TokenVocabulary Read(ReadOnlySpan<byte> json, string place)
    {
        var vocabulary = new TokenVocabulary();
        var reader = new Utf8JsonReader(json);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw UserException.At(place, "not an object", "an object of tokens and their ids");
        var unescaped = Array.Empty<byte>();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var token = JsonText.Utf8Of(ref reader, ref unescaped, place);
            reader.Read();
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt32(out var id) || id < 0
                || id > TokenVocabulary.HighestAllowedId)
            {
                throw UserException.At(
                    $"{place}.{Quote.Of(Encoding.UTF8.GetString(token))}",
                    $"the id {Quote.Of(Encoding.UTF8.GetString(reader.ValueSpan))}",
                    $"a whole number from 0 to {TokenVocabulary.HighestAllowedId}");
            }

            if (!vocabulary.TryAdd(token, id))
            {
                var found = vocabulary.Contains(id)
                    ? $"the id {id}, which {Quote.Of(vocabulary.TextOf(id))} already has" : "the token is listed twice";
                throw UserException.At(
                    $"{place}.{Quote.Of(Encoding.UTF8.GetString(token))}", found, "every token and every id once");
            }
        }

        return vocabulary;
    }
}

/// <summary>Reads "merges": a list of "left right" or of ["left", "right"], the earlier the sooner merged.</summary>
internal static class MergesReader
{
    /// <param name="json">The list.</param>
    /// <param name="vocabulary">Has to know both parts and what they make.</param>
    /// <param name="place">For messages.</param>
    /// <param name="joinWords">Whether a merge makes a token with U+2581 behind another character.</param>
    public static MergeTable Read(ReadOnlySpan<byte> json, TokenVocabulary vocabulary, string place, out bool joinWords)
    {
        var merges = new MergeTable(vocabulary.Count);
        joinWords = false;
        var reader = new Utf8JsonReader(json);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray)
            throw UserException.At(place, "not a list", "a list of merges");
        var buffer = Array.Empty<byte>();
        var pair = new byte[256];
        for (var rank = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray;)
        {
            var leftLength = reader.TokenType == JsonTokenType.String
                ? ReadText(ref reader, ref buffer, ref pair, out var length, rank, place)
                : ReadList(ref reader, ref buffer, ref pair, out length, rank, place);
            if (leftLength < 0)
                continue;
            var whole = pair.AsSpan(0, length);
            var left = Find(vocabulary, whole[..leftLength], rank, place);
            var right = Find(vocabulary, whole[leftLength..], rank, place);
            merges.Set(left, right, rank, Find(vocabulary, whole, rank, place));
            rank++;
            joinWords |= JoinsWords(whole);
        }

        return merges;
    }

    // The two parts go to the buffer without the space; the result is the length of the left one, or -1 for a comment
    // line.
    private static int ReadText(
        ref Utf8JsonReader reader, ref byte[] buffer, ref byte[] pair, out int length, int rank, string place)
    {
        var text = JsonText.Utf8Of(ref reader, ref buffer, place);
        length = text.Length - 1;
        if (text.StartsWith("#version"u8))
            return -1;
        var space = text.IndexOf((byte)' ');
        if (space < 0 || text[(space + 1)..].Contains((byte)' '))
            throw Bad(rank, Quote.Of(Encoding.UTF8.GetString(text)), place);
        Reserve(ref pair, text.Length);
        text[..space].CopyTo(pair);
        text[(space + 1)..].CopyTo(pair.AsSpan(space));
        return space;
    }

    private static int ReadList(
        ref Utf8JsonReader reader, ref byte[] buffer, ref byte[] pair, out int length, int rank, string place)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
            throw Bad(rank, "neither a string nor a list", place);
        var leftLength = 0;
        length = 0;
        for (var part = 0; part < 2; part++)
        {
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
                throw Bad(rank, "a list without two strings", place);
            var text = JsonText.Utf8Of(ref reader, ref buffer, place);
            Reserve(ref pair, length + text.Length);
            text.CopyTo(pair.AsSpan(length));
            leftLength = length;
            length += text.Length;
        }

        reader.Read();
        return reader.TokenType == JsonTokenType.EndArray
            ? leftLength
            : throw Bad(rank, "a list of more than two", place);
    }

    private static int Find(TokenVocabulary vocabulary, ReadOnlySpan<byte> token, int rank, string place)
    {
        var id = vocabulary.Find(token);
        return id >= 0 ? id : throw UserException.At(
            $"{place}[{rank}]",
            $"the token {Quote.Of(Encoding.UTF8.GetString(token))}, which is not in the vocabulary",
            advice: "download the file again");
    }

    private static bool JoinsWords(ReadOnlySpan<byte> token)
    {
        var mark = "\u2581"u8;
        while (token.StartsWith(mark))
            token = token[mark.Length..];
        return token.IndexOf(mark) >= 0;
    }

    private static void Reserve(ref byte[] pair, int length)
    {
        if (pair.Length < length)
            Array.Resize(ref pair, Math.Max(length, pair.Length * 2));
    }

    private static UserException Bad(int rank, string found, string place) =>
        UserException.At($"{place}[{rank}]", found, "\"left right\" or [\"left\", \"right\"]");
}
