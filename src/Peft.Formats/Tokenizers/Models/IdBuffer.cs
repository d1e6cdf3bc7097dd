namespace Peft.Formats.Tokenizers.Models;

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
