using System.Text;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// Turns words into ids. Immutable after construction; all working memory is in the <see cref="EncodeState"/>.
/// </summary>
internal abstract class WordModel(TokenVocabulary vocabulary)
{
    protected const int Missing = -1;

    public TokenVocabulary Vocabulary => vocabulary;

    /// <summary>Whether every byte has a token, so that byte-level words need no unknown-character rule.</summary>
    public virtual bool HasAllBytes => false;

    /// <summary>Lets the library do its part from now on; results are the same before.</summary>
    public virtual void StartLibrary()
    {
    }

    /// <summary>Memory for one encoding call at a time.</summary>
    public virtual EncodeState NewState() => new(new MergeTable());

    /// <summary>Adds the ids of a byte-level word given as its UTF-8; needs <see cref="HasAllBytes"/>.</summary>
    public virtual void EncodeBytes(ReadOnlySpan<byte> word, EncodeState state) =>
        throw new InvalidOperationException("this model has no tokens for bytes");

    /// <summary>Adds the ids of a word of characters.</summary>
    public abstract void EncodeCharacters(ReadOnlySpan<char> word, EncodeState state);

    /// <summary>Adds where in a word of characters each of its ids lies, in the order of the ids.</summary>
    public abstract void Locate(ReadOnlySpan<char> word, ReadOnlySpan<int> ids, List<TextRange> places);
}

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

    /// <summary>Where tokens lie in the current word.</summary>
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

    /// <summary>
    /// Adds the ids of a word met before; false where it is not known, and <see cref="Remember"/> may follow.
    /// </summary>
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

/// <summary>A growing list of ids whose content is reached as a span.</summary>
internal sealed class IdBuffer
{
    private int[] _items = new int[256];

    public int Count { get; private set; }

    public Span<int> Span => _items.AsSpan(0, Count);

    public void Add(int id)
    {
        if (Count == _items.Length)
            Array.Resize(ref _items, Count * 2);
        _items[Count++] = id;
    }

    public void AddRange(ReadOnlySpan<int> ids)
    {
        if (Count + ids.Length > _items.Length)
            Array.Resize(ref _items, Math.Max(_items.Length * 2, Count + ids.Length));
        ids.CopyTo(_items.AsSpan(Count));
        Count += ids.Length;
    }

    /// <summary>Empties the list; a very large array is given up rather than kept for the next short text.</summary>
    public void Clear(int keepAtMost = 1 << 20)
    {
        Count = 0;
        if (_items.Length > keepAtMost)
            _items = new int[256];
    }

    /// <summary>Shortens the list to its first <paramref name="count"/> ids.</summary>
    public void Truncate(int count) => Count = count;
}
