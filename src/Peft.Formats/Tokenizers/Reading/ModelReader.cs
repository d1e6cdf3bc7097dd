using Peft.Formats.Tokenizers.Models;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>Reads the "model" of a tokenizer file.</summary>
internal static class ModelReader
{
    private const string Supported =
        "supported: BPE (byte-level as in GPT-2, Llama 3, Qwen; with byte fallback as in Llama 2, Mistral), WordPiece (as in BERT)";

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
            _ => throw new TokenizerFileException(
                Fault.Text($"{place}.type", Quote.Of(kind), Supported, "choose a base model with such a tokenizer")),
        };
    }

    public static void Require(
        Dictionary<string, ReadOnlyMemory<byte>> parts, string place, string expected, params string[] keys)
    {
        foreach (var key in keys)
        {
            if (!parts.ContainsKey(key))
                throw new TokenizerFileException(Fault.Text(place, $"no \"{key}\"", expected));
        }
    }

    /// <summary>The value of a key; null where it is missing or null.</summary>
    public static JsonPart? Optional(Dictionary<string, ReadOnlyMemory<byte>> parts, string key, string place) =>
        parts.TryGetValue(key, out var json) && JsonPart.Parse(json, $"{place}.{key}") is { IsNull: false } part ? part : null;
}
