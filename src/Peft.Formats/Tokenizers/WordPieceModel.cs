using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace Peft.Formats.Tokenizers;

/// <summary>The settings of a WordPiece model beside its vocabulary.</summary>
/// <param name="UnknownId">The id of a word that no tokens make up.</param>
/// <param name="Prefix">What a token that continues a word begins with.</param>
/// <param name="LongestWord">A word of more characters is unknown.</param>
internal sealed record WordPieceRules(int UnknownId, string Prefix, int LongestWord)
{
    /// <summary>Looking for pieces takes the cube of a word's length, so a file may not ask for more.</summary>
    public const int MostCharacters = 256;
}

/// <summary>
/// WordPiece as in BERT: the longest token that a word begins with, then the longest that continues it, and so on; a
/// word that cannot be made up of tokens is unknown as a whole. The library does it exactly, word by word, but for the
/// limit of a word's length, which it counts in UTF-16: that is counted here, in characters as it is meant.
/// </summary>
internal sealed class WordPieceModel : WordModel
{
    private readonly WordPieceRules _rules;
    private readonly Lazy<WordPieceTokenizer> _library;

    public WordPieceModel(TokenVocabulary vocabulary, WordPieceRules rules)
        : base(vocabulary)
    {
        _rules = rules;
        _library = new(MakeLibrary);
    }

    public override void EncodeCharacters(ReadOnlySpan<char> word, EncodeState state)
    {
        if (word.IsEmpty)
            return;
        var key = MemoryMarshal.AsBytes(word);
        if (state.TryKnown(key, out var hash))
            return;
        var start = state.Ids.Count;
        if (LengthOf(word) > _rules.LongestWord)
            state.Ids.Add(_rules.UnknownId);
        else
            AddPieces(word, state.Ids);
        state.Remember(key, hash, state.Ids.Span[start..]);
    }

    public override void Locate(ReadOnlySpan<char> word, ReadOnlySpan<int> ids, List<TextRange> places)
    {
        if (ids.Length == 1)
        {
            places.Add(new TextRange(0, word.Length));
            return;
        }

        var at = 0;
        foreach (var id in ids)
        {
            var length = Encoding.UTF8.GetCharCount(Vocabulary.Utf8Of(id)) - (at > 0 ? _rules.Prefix.Length : 0);
            places.Add(new TextRange(at, at + length));
            at += length;
        }
    }

    private void AddPieces(ReadOnlySpan<char> word, IdBuffer output)
    {
        // A lone surrogate counts as U+FFFD here as everywhere.
        if (word.ContainsAnyInRange('\uD800', '\uDFFF'))
            word = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(word.ToString()));
        foreach (
            var id in _library.Value.EncodeToIds(word, considerPreTokenization: false, considerNormalization: false))
            output.Add(id);
    }

    private static int LengthOf(ReadOnlySpan<char> word)
    {
        var length = 0;
        foreach (var _ in word.EnumerateRunes())
            length++;
        return length;
    }

    // A vocabulary of the library is a text of a token a line, whose number is the id; an empty line is no token.
    private WordPieceTokenizer MakeLibrary()
    {
        using var lines = new MemoryStream();
        lines.Write(Encoding.UTF8.Preamble);
        for (var id = 0; id < Vocabulary.EndId; id++)
        {
            if (Vocabulary.Contains(id))
                lines.Write(Vocabulary.Utf8Of(id));
            lines.WriteByte((byte)'\n');
        }

        lines.Position = 0;
        return WordPieceTokenizer.Create(lines, new WordPieceOptions
        {
            UnknownToken = Vocabulary.TextOf(_rules.UnknownId),
            ContinuingSubwordPrefix = _rules.Prefix,
            // In UTF-16, of which a character takes up to two.
            MaxInputCharsPerWord = 2 * _rules.LongestWord,
        });
    }
}
