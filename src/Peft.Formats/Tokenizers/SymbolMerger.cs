using System.Numerics;
using System.Runtime.CompilerServices;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// Merges the symbols of one word: always the pair of lowest rank, the leftmost among equals. Short words by plain
/// search, long ones with a heap over a linked list, which takes n log n for a word of any length.
/// </summary>
internal sealed class SymbolMerger(MergeTable merges)
{
    // Below this many symbols looking through all ranks beats keeping a heap.
    private const int ShortWord = 48;
    private const int KeepAtMost = 1 << 20;

    private int[] _ranks = new int[ShortWord];
    private int[] _previous = [];
    private int[] _next = [];
    private ulong[] _heap = [];
    private int _heapCount;

    /// <summary>How many entries the heap has been given so far: what the time of long words is made of.</summary>
    public long HeapEntries { get; private set; }

    /// <summary>Merges in place and returns how many symbols are left, at the front of the span.</summary>
    public int Merge(Span<int> symbols) =>
        symbols.Length < 2 ? symbols.Length : symbols.Length <= ShortWord ? MergeShort(symbols) : MergeLong(symbols);

    private int MergeShort(Span<int> symbols)
    {
        var count = symbols.Length;
        var ranks = _ranks.AsSpan(0, count);
        for (var i = 0; i < count - 1; i++)
            ranks[i] = merges.Find(symbols[i], symbols[i + 1], out _);
        while (count > 1)
        {
            var best = 0;
            var bestRank = ranks[0];
            for (var i = 1; i < count - 1; i++)
            {
                if (ranks[i] < bestRank)
                {
                    bestRank = ranks[i];
                    best = i;
                }
            }

            if (bestRank == MergeTable.NoRank)
                break;
            merges.Find(symbols[best], symbols[best + 1], out var merged);
            symbols[best] = merged;
            symbols[(best + 2)..count].CopyTo(symbols[(best + 1)..]);
            count--;
            if (best + 1 < count)
            {
                ranks[(best + 2)..count].CopyTo(ranks[(best + 1)..]);
                ranks[best] = merges.Find(merged, symbols[best + 1], out _);
            }

            if (best > 0)
                ranks[best - 1] = merges.Find(symbols[best - 1], merged, out _);
        }

        return count;
    }

    private int MergeLong(Span<int> symbols)
    {
        var count = symbols.Length;
        if (_next.Length < count)
        {
            _next = new int[count];
            _previous = new int[count];
        }

        var next = _next.AsSpan(0, count);
        var previous = _previous.AsSpan(0, count);
        _heapCount = 0;
        for (var i = 0; i < count; i++)
        {
            previous[i] = i - 1;
            next[i] = i + 1;
            if (i + 1 < count)
                Append(symbols, i, i + 1);
        }

        next[count - 1] = -1;
        for (var i = (_heapCount - 2) / 4; i >= 0 && _heapCount > 1; i--)
            SiftDown(i);
        while (_heapCount > 0)
            MergeTop(symbols, previous, next);
        var left = 0;
        for (var i = 0; i >= 0; i = next[i])
            symbols[left++] = symbols[i];
        if (count > KeepAtMost)
            (_previous, _next, _heap) = ([], [], []);
        return left;
    }

    private void MergeTop(Span<int> symbols, Span<int> previous, Span<int> next)
    {
        var top = PopTop();
        var at = (int)(uint)top;
        // An entry is out of date when its left symbol was merged away (marked -1) or the pair there is another by now.
        var right = symbols[at] < 0 ? -1 : next[at];
        if (right < 0 || merges.Find(symbols[at], symbols[right], out var merged) != (int)(top >> 32))
            return;
        symbols[at] = merged;
        symbols[right] = -1;
        var after = next[right];
        next[at] = after;
        if (after >= 0)
        {
            previous[after] = at;
            if (Append(symbols, at, after))
                SiftUp(_heapCount - 1);
        }

        if (previous[at] >= 0 && Append(symbols, previous[at], at))
            SiftUp(_heapCount - 1);
    }

    // Heap keys hold the rank above the position, so that plain order is the merge order.
    private bool Append(Span<int> symbols, int left, int right)
    {
        var rank = merges.Find(symbols[left], symbols[right], out _);
        if (rank == MergeTable.NoRank)
            return false;
        if (_heapCount == _heap.Length)
            Array.Resize(ref _heap, Math.Max(256, _heapCount * 2));
        _heap[_heapCount++] = ((ulong)(uint)rank << 32) | (uint)left;
        HeapEntries++;
        return true;
    }

    private ulong PopTop()
    {
        var top = _heap[0];
        _heap[0] = _heap[--_heapCount];
        SiftDown(0);
        return top;
    }

    private void SiftUp(int at)
    {
        var heap = _heap;
        var key = heap[at];
        while (at > 0)
        {
            var parent = (at - 1) / 4;
            if (heap[parent] <= key)
                break;
            heap[at] = heap[parent];
            at = parent;
        }

        heap[at] = key;
    }

    private void SiftDown(int at)
    {
        var heap = _heap.AsSpan(0, _heapCount);
        if (heap.IsEmpty)
            return;
        var key = heap[at];
        for (var child = at * 4 + 1; child < heap.Length; child = at * 4 + 1)
        {
            var least = child;
            for (var other = child + 1; other < Math.Min(child + 4, heap.Length); other++)
            {
                if (heap[other] < heap[least])
                    least = other;
            }

            if (heap[least] >= key)
                break;
            heap[at] = heap[least];
            at = least;
        }

        heap[at] = key;
    }
}

/// <summary>Which pairs of tokens merge: (left id, right id) to the merge's rank and the new token's id.</summary>
internal sealed class MergeTable
{
    /// <summary>The rank of a pair that does not merge: after every real one.</summary>
    public const int NoRank = int.MaxValue;

    private Entry[] _entries;
    private int _shift;
    private int _count;

    public MergeTable(int expected = 0)
    {
        var size = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, expected * 2));
        _entries = new Entry[size];
        _shift = 64 - BitOperations.Log2((uint)size);
    }

    /// <summary>How many pairs merge.</summary>
    public int Count => _count;

    /// <summary>Sets a merge; a pair given twice keeps the later rank, as in Hugging Face's reader.</summary>
    public void Set(int left, int right, int rank, int merged)
    {
        if ((_count + 1) * 2 > _entries.Length)
            Grow();
        ref var entry = ref Slot(_entries, _shift, KeyOf(left, right));
        if (entry.Key == 0)
            _count++;
        entry = new Entry { Key = KeyOf(left, right), Rank = rank, Merged = merged };
    }

    /// <summary>The rank of the pair, or <see cref="NoRank"/>.</summary>
    public int Find(int left, int right, out int merged)
    {
        ref var entry = ref Slot(_entries, _shift, KeyOf(left, right));
        merged = entry.Merged;
        return entry.Key == 0 ? NoRank : entry.Rank;
    }

    /// <summary>All pairs, the sooner merged the earlier.</summary>
    public IEnumerable<(int Left, int Right)> InOrder() => _entries
        .Where(entry => entry.Key != 0).OrderBy(entry => entry.Rank)
        .Select(entry => ((int)((entry.Key - 1) >> 32), (int)(uint)(entry.Key - 1)));

    // Plus one, so that 0 means a free slot; ids stay far below 2^31.
    private static ulong KeyOf(int left, int right) => (((ulong)(uint)left << 32) | (uint)right) + 1;

    private static ref Entry Slot(Entry[] entries, int shift, ulong key)
    {
        var mask = entries.Length - 1;
        var at = (int)((key * 0x9E3779B97F4A7C15) >> shift);
        while (entries[at].Key != 0 && entries[at].Key != key)
            at = (at + 1) & mask;
        return ref entries[at];
    }

    private void Grow()
    {
        var larger = new Entry[_entries.Length * 2];
        foreach (var entry in _entries)
        {
            if (entry.Key != 0)
                Slot(larger, _shift - 1, entry.Key) = entry;
        }

        _entries = larger;
        _shift--;
    }

    private struct Entry
    {
        public ulong Key;
        public int Rank;
        public int Merged;
    }
}
