using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;

namespace Peft.Formats.Tokenizers;

/// <summary>The settings of a BPE model beside vocabulary and merges.</summary>
/// <param name="UnknownId">The id for characters that are not in the vocabulary; null leaves them out.</param>
/// <param name="FuseUnknown">Whether neighbouring unknown characters become one token.</param>
/// <param name="ByteFallback">
/// Whether an unknown character is first tried as the tokens &lt;0x00&gt; to &lt;0xFF&gt; of its bytes.
/// </param>
/// <param name="IgnoreMerges">Whether a word that is in the vocabulary as a whole is taken without merging.</param>
internal sealed record BpeRules(int? UnknownId, bool FuseUnknown, bool ByteFallback, bool IgnoreMerges);

/// <summary>
/// Byte-pair encoding as in Hugging Face tokenizers: a word's characters (or bytes) become symbols, and symbols merge.
/// Byte-level words are merged by the library (<see cref="LibraryMerger"/>), which is exact there; after our look-up of
/// whole words, as it has none (ignore_merges). Ours merge a word too long for it, its time growing with the square of
/// the length, and the words of a text too short for its making. Words of characters are ours alone: the library drops
/// a character that has no token or takes the unknown token for it, and has no byte fallback, where the bytes take part
/// in the merging.
/// </summary>
internal sealed class BpeModel : WordModel
{
    private const char Underline = '\u2581';

    private readonly BpeRules _options;
    // By character of the basic plane: its token, or Missing.
    private readonly int[] _characterIds = new int[char.MaxValue + 1];
    // By byte: the token of the character that stands for it (byte-level), and of <0x..> (byte fallback).
    private readonly int[] _byteIds = new int[256];
    private readonly int[] _fallbackIds = new int[256];
    private readonly bool _splitsAtUnderline;
    private readonly MergeTable _merges;
    private readonly LibraryMerger _library;

    public BpeModel(TokenVocabulary vocabulary, MergeTable merges, bool mergesJoinWords, BpeRules options)
        : base(vocabulary)
    {
        (_merges, _options) = (merges, options);
        _library = new LibraryMerger(vocabulary, merges);
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

        HasAllBytes = Array.TrueForAll(_byteIds, id => id != Missing);
        _splitsAtUnderline = !mergesJoinWords && !options.IgnoreMerges && _characterIds[Underline] != Missing;
    }

    public override bool HasAllBytes { get; }

    public override void StartLibrary() => _library.Start();

    public override EncodeState NewState() => new(_merges);

    public override void EncodeBytes(ReadOnlySpan<byte> word, EncodeState state)
    {
        var output = state.Ids;
        if (word.Length == 1 && !_options.IgnoreMerges)
        {
            output.Add(_byteIds[word[0]]);
            return;
        }

        if (state.TryKnown(word, out var hash))
            return;
        var start = output.Count;
        if (!_options.IgnoreMerges || !TryWholeByteWord(word, output))
            MergeBytes(word, state);
        state.Remember(word, hash, output.Span[start..]);
    }

    private void MergeBytes(ReadOnlySpan<byte> word, EncodeState state)
    {
        if (_library.TryAppend(word, state.Ids))
            return;
        var start = state.Ids.Count;
        foreach (var value in word)
            state.Ids.Add(_byteIds[value]);
        state.Ids.Truncate(start + state.Merger.Merge(state.Ids.Span[start..]));
    }

    /// <summary>
    /// Adds the ids of a word of characters. Where no merge ever joins a character with a following U+2581, as in every
    /// SentencePiece vocabulary, the text falls apart there without changing the result: that lets the cache work on
    /// texts that have no pre-tokenizer.
    /// </summary>
    public override void EncodeCharacters(ReadOnlySpan<char> text, EncodeState state)
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

            EncodeWord(text[..end], state);
            text = text[end..];
        }
    }

    private void EncodeWord(ReadOnlySpan<char> word, EncodeState state)
    {
        var output = state.Ids;
        var key = MemoryMarshal.AsBytes(word);
        if (state.TryKnown(key, out var hash))
            return;
        var start = output.Count;
        var whole = _options.IgnoreMerges ? Vocabulary.Find(word) : Missing;
        if (whole != Missing)
        {
            output.Add(whole);
        }
        else
        {
            AddSymbols(word, output, null);
            output.Truncate(start + state.Merger.Merge(output.Span[start..]));
        }

        state.Remember(key, hash, output.Span[start..]);
    }

    /// <summary>
    /// Adds where each id lies. A merged token's text is that of its symbols, so its length tells which they were.
    /// </summary>
    public override void Locate(ReadOnlySpan<char> word, ReadOnlySpan<int> ids, List<TextRange> places)
    {
        if (_options.IgnoreMerges && ids.Length == 1 && Vocabulary.Find(word) == ids[0])
        {
            places.Add(new TextRange(0, word.Length));
            return;
        }

        var symbols = new IdBuffer();
        var symbolPlaces = new List<TextRange>();
        AddSymbols(word, symbols, symbolPlaces);
        var at = 0;
        foreach (var id in ids)
        {
            var place = symbolPlaces[at];
            for (var left = Vocabulary.Utf8Of(id).Length; left > 0; at++)
            {
                left -= Vocabulary.Utf8Of(symbols.Span[at]).Length;
                place = place with { End = symbolPlaces[at].End };
            }

            places.Add(place);
        }
    }

    private void AddSymbols(ReadOnlySpan<char> word, IdBuffer output, List<TextRange>? places)
    {
        // An unknown symbol waits: the next unknown one may join it, and bytes of a fallback overtake it (as in the
        // original).
        TextRange? waiting = null;
        var end = 0;
        foreach (var rune in word.EnumerateRunes())
        {
            var place = new TextRange(end, end + rune.Utf16SequenceLength);
            end = place.End;
            var id = IdOf(rune);
            if (id != Missing)
            {
                AddUnknown();
                output.Add(id);
                places?.Add(place);
            }
            else if (_options.ByteFallback && TryFallback(rune, output) is > 0 and var count)
            {
                places?.AddRange(Enumerable.Repeat(place, count));
            }
            else if (_options.UnknownId is not null)
            {
                if (waiting is { } before && _options.FuseUnknown)
                    place = new TextRange(before.Start, place.End);
                else
                    AddUnknown();
                waiting = place;
            }
        }

        AddUnknown();

        void AddUnknown()
        {
            if (waiting is not { } place)
                return;
            output.Add(_options.UnknownId!.Value);
            places?.Add(place);
            waiting = null;
        }
    }

    private int IdOf(Rune rune)
    {
        if (rune.IsBmp)
            return _characterIds[rune.Value];
        Span<byte> utf8 = stackalloc byte[4];
        return Vocabulary.Find(utf8[..rune.EncodeToUtf8(utf8)]);
    }

    // Adds the tokens of the character's bytes and returns how many; none unless there is one for each.
    private int TryFallback(Rune rune, IdBuffer output)
    {
        Span<byte> utf8 = stackalloc byte[4];
        utf8 = utf8[..rune.EncodeToUtf8(utf8)];
        foreach (var value in utf8)
        {
            if (_fallbackIds[value] == Missing)
                return 0;
        }

        foreach (var value in utf8)
            output.Add(_fallbackIds[value]);
        return utf8.Length;
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
