using System.Runtime.CompilerServices;

namespace Peft.Formats.Tokenizers.Models;

/// <summary>
/// The ids of words of at most 16 bytes met before: nearly all words of nearly all texts. Key and, for a word of one
/// token, the id lie in the slot itself, so that a hit reads one place in memory. Bounded: full, it starts again empty.
/// </summary>
internal sealed class WordCache
{
    private const int MostSlots = 1 << 18;

    private readonly IdBuffer _ids = new();
    private Entry[] _slots = new Entry[1 << 12];
    private int _count;

    /// <summary>Appends the ids of a word to <paramref name="output"/>; false where the word is not known.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryAppend(ReadOnlySpan<byte> word, IdBuffer output)
    {
        ref var entry = ref Slot(_slots, WordKey.Of(word), word.Length);
        if (entry.Length == 0)
            return false;
        if (entry.IdCount == 1)
            output.Add(entry.Id);
        else
            output.AddRange(_ids.Span.Slice(entry.Id, entry.IdCount));
        return true;
    }

    /// <summary>Adds a word that <see cref="TryAppend"/> did not know.</summary>
    public void Add(ReadOnlySpan<byte> word, ReadOnlySpan<int> ids)
    {
        if ((_count + 1) * 2 > _slots.Length)
            Grow();
        var key = WordKey.Of(word);
        Slot(_slots, key, word.Length) = new Entry
        {
            Key = key,
            Length = (ushort)word.Length,
            IdCount = (ushort)ids.Length,
            Id = ids.Length == 1 ? ids[0] : _ids.Count,
        };
        if (ids.Length != 1)
            _ids.AddRange(ids);
        _count++;
    }

    private void Grow()
    {
        var old = _slots;
        if (old.Length == MostSlots)
        {
            Array.Clear(old);
            _ids.Clear(int.MaxValue);
            _count = 0;
            return;
        }

        _slots = new Entry[old.Length * 4];
        foreach (ref var entry in old.AsSpan())
        {
            if (entry.Length != 0)
                Slot(_slots, entry.Key, entry.Length) = entry;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ref Entry Slot(Entry[] slots, WordKey key, int length)
    {
        var mask = slots.Length - 1;
        for (var at = key.SlotOf(length, mask); ; at = (at + 1) & mask)
        {
            ref var entry = ref slots[at];
            if (entry.Length == 0 || entry.Length == length && entry.Key.Is(key))
                return ref entry;
        }
    }

    private struct Entry
    {
        public WordKey Key;
        public int Id;
        public ushort IdCount;
        // 0: the slot is free.
        public ushort Length;
    }
}
