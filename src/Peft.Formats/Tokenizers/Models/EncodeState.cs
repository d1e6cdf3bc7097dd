using System.Text;
using Peft.Formats.Tokenizers.PreTokenizers;
using Peft.Formats.Tokenizers.Sources;

namespace Peft.Formats.Tokenizers.Models;

/// <summary>What one encoding call writes to and reuses: never shared by two threads at a time.</summary>
internal sealed class EncodeState(MergeTable merges)
{
    private const int KeepAtMost = 1 << 20;

    public WordCache Cache { get; } = new();

    public LongWordCache LongCache { get; } = new();

    public SymbolMerger Merger { get; } = new(merges);

    public IdBuffer Ids { get; } = new();

    /// <summary>
    /// Where in the caller's text each of <see cref="Ids"/> comes from; null where only the ids are asked for.
    /// </summary>
    public List<TextRange>? Origins { get; set; }

    /// <summary>Where tokens lie in the word at hand.</summary>
    public List<TextRange> Places { get; } = [];

    public List<Piece> Pieces { get; } = [];

    public List<Piece> NextPieces { get; } = [];

    private byte[] _utf8 = new byte[4096];

    /// <summary>Adds an id that comes from a part of the caller's text.</summary>
    public void Add(int id, TextRange origin)
    {
        Ids.Add(id);
        Origins?.Add(origin);
    }

    /// <summary>Adds the ids of a word met before; false where it is not known, and <see cref="Remember"/> may follow.</summary>
    public bool TryKnown(ReadOnlySpan<byte> word, out uint hash)
    {
        hash = 0;
        if (word.Length <= WordKey.Exact)
            return Cache.TryAppend(word, Ids);
        if (word.Length > LongWordCache.LongestKey)
            return false;
        hash = TokenHash.Of(word);
        if (!LongCache.TryGet(word, hash, out var known))
            return false;
        Ids.AddRange(known);
        return true;
    }

    /// <summary>Keeps the ids of a word that <see cref="TryKnown"/> did not know.</summary>
    public void Remember(ReadOnlySpan<byte> word, uint hash, ReadOnlySpan<int> ids)
    {
        if (word.Length <= WordKey.Exact)
            Cache.Add(word, ids);
        else if (word.Length <= LongWordCache.LongestKey)
            LongCache.Add(word, hash, ids);
    }

    /// <summary>UTF-8 of the text (a lone surrogate becomes U+FFFD); valid until the next call.</summary>
    public ReadOnlySpan<byte> ToUtf8(ReadOnlySpan<char> text)
    {
        var most = Encoding.UTF8.GetMaxByteCount(text.Length);
        if (_utf8.Length < most)
            _utf8 = new byte[most];
        return _utf8.AsSpan(0, Encoding.UTF8.GetBytes(text, _utf8));
    }

    /// <summary>Made ready for the next text; what a huge text needed is given up.</summary>
    public void Clear()
    {
        Ids.Clear();
        Origins = null;
        Places.Clear();
        Pieces.Clear();
        NextPieces.Clear();
        if (_utf8.Length > 4 * KeepAtMost)
            _utf8 = new byte[4096];
        if (Places.Capacity > KeepAtMost)
            Places.Capacity = 0;
        if (Pieces.Capacity > KeepAtMost)
            Pieces.Capacity = 0;
        if (NextPieces.Capacity > KeepAtMost)
            NextPieces.Capacity = 0;
    }
}
