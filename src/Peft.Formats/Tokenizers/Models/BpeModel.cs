using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;

namespace Peft.Formats.Tokenizers.Models;

/// <summary>
/// Byte-pair encoding as in Hugging Face tokenizers: a word's characters (or bytes) become symbols, and symbols merge.
/// Immutable after construction; all working memory is in the <see cref="EncodeState"/>.
/// </summary>
internal sealed class BpeModel
{
    private const int Missing = -1;
    private const char Underline = '\u2581';

    private readonly BpeOptions _options;
    // By character of the basic plane: its token, or Missing.
    private readonly int[] _characterIds = new int[char.MaxValue + 1];
    // By byte: the token of the character that stands for it (byte-level), and of <0x..> (byte fallback).
    private readonly int[] _byteIds = new int[256];
    private readonly int[] _fallbackIds = new int[256];
    private readonly bool _splitsAtUnderline;

    public BpeModel(TokenVocabulary vocabulary, MergeTable merges, bool mergesJoinWords, BpeOptions options)
    {
        Vocabulary = vocabulary;
        Merges = merges;
        _options = options;
        Array.Fill(_characterIds, Missing);
        for (var id = 0; id < vocabulary.EndId; id++)
        {
            if (vocabulary.Contains(id)
                && Rune.DecodeFromUtf8(vocabulary.Utf8Of(id), out var rune, out var length) == OperationStatus.Done
                && length == vocabulary.Utf8Of(id).Length && rune.IsBmp)
                _characterIds[rune.Value] = id;
        }

        for (var value = 0; value < 256; value++)
        {
            _byteIds[value] = _characterIds[ByteAlphabet.CharacterOf((byte)value)];
            _fallbackIds[value] = options.ByteFallback ? vocabulary.Find($"<0x{value:X2}>") : Missing;
        }

        _splitsAtUnderline = !mergesJoinWords && !options.IgnoreMerges && _characterIds[Underline] != Missing;
    }

    public TokenVocabulary Vocabulary { get; }

    public MergeTable Merges { get; }

    /// <summary>Whether every byte has a token, so that byte-level words need no unknown-character rule.</summary>
    public bool HasAllBytes => Array.TrueForAll(_byteIds, id => id != Missing);

    /// <summary>Encodes a byte-level word given as its UTF-8; needs <see cref="HasAllBytes"/>.</summary>
    public void EncodeBytes(ReadOnlySpan<byte> word, EncodeState state, IdBuffer output)
    {
        if (word.Length == 1 && !_options.IgnoreMerges)
        {
            output.Add(_byteIds[word[0]]);
            return;
        }

        if (TryKnown(word, state, output, out var hash))
            return;
        var start = output.Count;
        if (!_options.IgnoreMerges || !TryWholeByteWord(word, output))
        {
            foreach (var value in word)
                output.Add(_byteIds[value]);
            output.Truncate(start + state.Merger.Merge(output.Span[start..]));
        }

        Remember(word, hash, output.Span[start..], state);
    }

    /// <summary>
    /// Encodes a word of characters. Where no merge ever joins a character with a following U+2581, as in every
    /// SentencePiece vocabulary, the text falls apart there without changing the result: that lets the cache work on
    /// texts that have no pre-tokenizer.
    /// </summary>
    public void EncodeCharacters(ReadOnlySpan<char> text, EncodeState state, IdBuffer output)
    {
        while (!text.IsEmpty)
        {
            var end = text.Length;
            if (_splitsAtUnderline)
            {
                var letter = text.IndexOfAnyExcept(Underline);
                var next = letter < 0 ? -1 : text[letter..].IndexOf(Underline);
                end = next < 0 ? text.Length : letter + next;
            }

            EncodeWord(text[..end], state, output);
            text = text[end..];
        }
    }

    private void EncodeWord(ReadOnlySpan<char> word, EncodeState state, IdBuffer output)
    {
        var key = MemoryMarshal.AsBytes(word);
        if (TryKnown(key, state, output, out var hash))
            return;
        var start = output.Count;
        var whole = _options.IgnoreMerges ? Vocabulary.Find(word) : Missing;
        if (whole != Missing)
        {
            output.Add(whole);
        }
        else
        {
            AddSymbols(word, output);
            output.Truncate(start + state.Merger.Merge(output.Span[start..]));
        }

        Remember(key, hash, output.Span[start..], state);
    }

    private static bool TryKnown(ReadOnlySpan<byte> word, EncodeState state, IdBuffer output, out uint hash)
    {
        hash = 0;
        if (word.Length <= WordKey.Exact)
            return state.Cache.TryAppend(word, output);
        if (word.Length > LongWordCache.LongestKey)
            return false;
        hash = TokenHash.Of(word);
        if (!state.LongCache.TryGet(word, hash, out var known))
            return false;
        output.AddRange(known);
        return true;
    }

    private static void Remember(ReadOnlySpan<byte> word, uint hash, ReadOnlySpan<int> ids, EncodeState state)
    {
        if (word.Length <= WordKey.Exact)
            state.Cache.Add(word, ids);
        else if (word.Length <= LongWordCache.LongestKey)
            state.LongCache.Add(word, hash, ids);
    }

    private void AddSymbols(ReadOnlySpan<char> word, IdBuffer output)
    {
        // An unknown symbol waits: the next unknown one may join it, and bytes of a fallback overtake it (as in the
        // original).
        var waiting = false;
        foreach (var rune in word.EnumerateRunes())
        {
            var id = IdOf(rune);
            if (id != Missing)
            {
                if (waiting)
                    output.Add(_options.UnknownId!.Value);
                waiting = false;
                output.Add(id);
            }
            else if (!(_options.ByteFallback && TryFallback(rune, output)) && _options.UnknownId is { } unknown)
            {
                if (waiting && !_options.FuseUnknown)
                    output.Add(unknown);
                waiting = true;
            }
        }

        if (waiting)
            output.Add(_options.UnknownId!.Value);
    }

    private int IdOf(Rune rune)
    {
        if (rune.IsBmp)
            return _characterIds[rune.Value];
        Span<byte> utf8 = stackalloc byte[4];
        return Vocabulary.Find(utf8[..rune.EncodeToUtf8(utf8)]);
    }

    private bool TryFallback(Rune rune, IdBuffer output)
    {
        Span<byte> utf8 = stackalloc byte[4];
        utf8 = utf8[..rune.EncodeToUtf8(utf8)];
        foreach (var value in utf8)
        {
            if (_fallbackIds[value] == Missing)
                return false;
        }

        foreach (var value in utf8)
            output.Add(_fallbackIds[value]);
        return true;
    }

    private bool TryWholeByteWord(ReadOnlySpan<byte> word, IdBuffer output)
    {
        const int Longest = 512;
        // A longer one than any token cannot be in the vocabulary, and is not worth a buffer.
        if (word.Length > Longest)
            return false;
        Span<char> characters = stackalloc char[word.Length];
        for (var i = 0; i < word.Length; i++)
            characters[i] = ByteAlphabet.CharacterOf(word[i]);
        var id = Vocabulary.Find(characters);
        if (id == Missing)
            return false;
        output.Add(id);
        return true;
    }
}
