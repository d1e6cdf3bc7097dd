using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Peft.Formats.Tokenizers.Models;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>Reads "merges": a list of "left right" or of ["left", "right"], the earlier the sooner merged.</summary>
internal static class MergesReader
{
    /// <param name="json">The list.</param>
    /// <param name="vocabulary">Has to know both parts and what they make.</param>
    /// <param name="place">For messages.</param>
    /// <param name="joinWords">Whether a merge makes a token with U+2581 behind another character.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static MergeTable Read(ReadOnlySpan<byte> json, TokenVocabulary vocabulary, string place, out bool joinWords)
    {
        var merges = new MergeTable(vocabulary.Count);
        joinWords = false;
        var reader = new Utf8JsonReader(json);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new TokenizerFileException(Fault.Text(place, "no list", "a list of merges"));
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
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
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

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int ReadList(
        ref Utf8JsonReader reader, ref byte[] buffer, ref byte[] pair, out int length, int rank, string place)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
            throw Bad(rank, reader.TokenType.ToString(), place);
        var leftLength = 0;
        length = 0;
        for (var part = 0; part < 2; part++)
        {
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
                throw Bad(rank, "a list of other things", place);
            var text = JsonText.Utf8Of(ref reader, ref buffer, place);
            Reserve(ref pair, length + text.Length);
            text.CopyTo(pair.AsSpan(length));
            leftLength = length;
            length += text.Length;
        }

        reader.Read();
        return reader.TokenType == JsonTokenType.EndArray ? leftLength : throw Bad(rank, "a list of more than two", place);
    }

    private static int Find(TokenVocabulary vocabulary, ReadOnlySpan<byte> token, int rank, string place)
    {
        var id = vocabulary.Find(token);
        return id >= 0 ? id : throw new TokenizerFileException(Fault.Text(
            $"{place}[{rank}]",
            $"the token {Quote.Of(Encoding.UTF8.GetString(token))}, which is not in the vocabulary",
            "merges of tokens into tokens",
            "take the file from its source again"));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
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

    private static TokenizerFileException Bad(int rank, string found, string place) =>
        new(Fault.Text($"{place}[{rank}]", found, "\"left right\" or [\"left\", \"right\"]"));
}
