using Microsoft.ML.Tokenizers;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// The library's <see cref="BpeTokenizer"/> merging byte-level words. It is given words in the byte alphabet, one
/// character a byte, so that its own splitting, normalizing and UTF-8 have no part in it: then its merges are exact.
/// Making it takes longer than reading the file; it is made when as much text has been merged without it.
/// </summary>
internal sealed class LibraryMerger
{
    /// <summary>Its time grows with the square of a word's length.</summary>
    public const int LongestWord = 512;

    /// <summary>Bytes that ours merge in about the time that the library takes to make one merge.</summary>
    private const int BytesForMerge = 16;

    private readonly MergeTable _merges;
    private readonly Lazy<BpeTokenizer> _library;
    private long _without;

    public LibraryMerger(TokenVocabulary vocabulary, MergeTable merges)
    {
        _merges = merges;
        _library = new(() => Make(vocabulary, merges));
    }

    /// <summary>Makes the library's merger now.</summary>
    public void Start() => _ = _library.Value;

    /// <summary>Adds the ids of a word; false where it is too long, or too little text came for the library to be
    /// worth its making.</summary>
    public bool TryAppend(ReadOnlySpan<byte> word, IdBuffer output)
    {
        if (word.Length > LongestWord || !_library.IsValueCreated
            && Interlocked.Add(ref _without, word.Length) <= BytesForMerge * (long)_merges.Count)
            return false;
        Span<char> characters = stackalloc char[word.Length];
        for (var i = 0; i < word.Length; i++)
            characters[i] = ByteAlphabet.CharacterOf(word[i]);
        var ids = _library.Value.EncodeToIds(characters, considerPreTokenization: false, considerNormalization: false);
        for (var i = 0; i < ids.Count; i++)
            output.Add(ids[i]);
        return true;
    }

    // A token with other characters than the byte alphabet's is never met in a byte-level word, and neither is a merge
    // of one; the library could not read those with a space. A pair given twice, which it refuses, is in the table
    // once.
    private static BpeTokenizer Make(TokenVocabulary vocabulary, MergeTable merges)
    {
        var texts = new string?[vocabulary.EndId];
        for (var id = 0; id < texts.Length; id++)
        {
            if (vocabulary.Contains(id) && vocabulary.TextOf(id) is var text && IsBytes(text))
                texts[id] = text;
        }

        return BpeTokenizer.Create(new BpeOptions(
            texts.Select((text, id) => KeyValuePair.Create(text!, id)).Where(token => token.Key is not null))
        {
            Merges = merges.InOrder()
                .Where(pair => texts[pair.Left] is not null && texts[pair.Right] is not null)
                .Select(pair => $"{texts[pair.Left]} {texts[pair.Right]}"),
        });
    }

    private static bool IsBytes(string text)
    {
        foreach (var character in text)
        {
            if (ByteAlphabet.ByteOf(character) < 0)
                return false;
        }

        return text.Length > 0;
    }
}
