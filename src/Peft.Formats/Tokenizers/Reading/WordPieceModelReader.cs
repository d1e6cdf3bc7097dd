using Peft.Formats.Tokenizers.Models;

namespace Peft.Formats.Tokenizers.Reading;

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
                throw new TokenizerFileException(Fault.Text(
                    $"{place}.vocab.{Quote.Of(vocabulary.TextOf(id))}", "a line break", "tokens within a line"));
            }
        }

        var unknown = JsonPart.Parse(parts["unk_token"], $"{place}.unk_token");
        var unknownId = vocabulary.Find(unknown.Text());
        if (unknownId < 0 || unknown.Text().Length == 0)
            throw unknown.Fault(Quote.Of(unknown.Text()), "a token of the vocabulary");
        return new WordPieceModel(vocabulary, new WordPieceRules(
            unknownId,
            ModelReader.Optional(parts, "continuing_subword_prefix", place)?.Text() ?? "##",
            ModelReader.Optional(parts, "max_input_chars_per_word", place)?.Integer(1, WordPieceRules.MostCharacters) ?? 100));
    }
}
