using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Peft.Formats.Tokenizers.Models;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>Reads "vocab": an object of tokens and their ids.</summary>
internal static class VocabularyReader
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static TokenVocabulary Read(ReadOnlySpan<byte> json, string place)
    {
        var vocabulary = new TokenVocabulary();
        var reader = new Utf8JsonReader(json);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new TokenizerFileException(Fault.Text(place, "no object", "an object of tokens and their ids"));
        var unescaped = Array.Empty<byte>();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var token = JsonText.Utf8Of(ref reader, ref unescaped, place);
            reader.Read();
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt32(out var id) || id < 0
                || id > TokenVocabulary.HighestAllowedId)
            {
                throw new TokenizerFileException(Fault.Text(
                    $"{place}.{Quote.Of(Encoding.UTF8.GetString(token))}",
                    $"the id {Quote.Of(Encoding.UTF8.GetString(reader.ValueSpan))}",
                    $"a whole number from 0 to {TokenVocabulary.HighestAllowedId}"));
            }

            if (!vocabulary.TryAdd(token, id))
            {
                var found = vocabulary.Contains(id)
                    ? $"the id {id}, which {Quote.Of(vocabulary.TextOf(id))} has already" : "the same token before";
                throw new TokenizerFileException(Fault.Text(
                    $"{place}.{Quote.Of(Encoding.UTF8.GetString(token))}", found, "each token and each id once"));
            }
        }

        return vocabulary;
    }
}
