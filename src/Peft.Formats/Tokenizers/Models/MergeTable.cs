using System.Numerics;
using System.Runtime.CompilerServices;

namespace Peft.Formats.Tokenizers.Models;

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

    /// <summary>Sets a merge; a pair given twice keeps the later rank, as in Hugging Face's reader.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
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
    public IEnumerable<(int Left, int Right)> InOrder() => _entries.Where(entry => entry.Key != 0).OrderBy(entry => entry.Rank)
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

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
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
