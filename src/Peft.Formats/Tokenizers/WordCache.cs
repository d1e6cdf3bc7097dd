using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;

namespace Peft.Formats.Tokenizers;

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

/// <summary>
/// The ids of longer words met before. Bounded: when it is full it starts again empty, which costs less than keeping
/// track of what was used last, and never changes a result.
/// </summary>
internal sealed class LongWordCache
{
    public const int LongestKey = 96;
    private const int MostWords = 1 << 14;
    private const int SlotCount = 1 << 15;
    private const int MostKeyBytes = 1 << 20;

    private readonly int[] _slots = new int[SlotCount];
    private Entry[] _entries = new Entry[1024];
    private byte[] _keys = new byte[1 << 14];
    private readonly IdBuffer _ids = new();
    private int _count;
    private int _keyLength;

    public bool TryGet(ReadOnlySpan<byte> word, uint hash, out ReadOnlySpan<int> ids)
    {
        for (var at = hash & (SlotCount - 1); ; at = (at + 1) & (SlotCount - 1))
        {
            var slot = _slots[at];
            if (slot == 0)
            {
                ids = default;
                return false;
            }

            ref var entry = ref _entries[slot - 1];
            if (entry.Hash == hash && word.SequenceEqual(_keys.AsSpan(entry.KeyStart, entry.KeyLength)))
            {
                ids = _ids.Span.Slice(entry.IdStart, entry.IdCount);
                return true;
            }
        }
    }

    public void Add(ReadOnlySpan<byte> word, uint hash, ReadOnlySpan<int> ids)
    {
        if (_count == MostWords || _keyLength + word.Length > MostKeyBytes)
            Reset();
        if (_count == _entries.Length)
            Array.Resize(ref _entries, _count * 2);
        if (_keyLength + word.Length > _keys.Length)
            Array.Resize(ref _keys, Math.Max(_keys.Length * 2, _keyLength + word.Length));
        word.CopyTo(_keys.AsSpan(_keyLength));
        _entries[_count] = new Entry
        {
            Hash = hash, KeyStart = _keyLength, KeyLength = word.Length, IdStart = _ids.Count, IdCount = ids.Length,
        };
        _keyLength += word.Length;
        _ids.AddRange(ids);
        var at = hash & (SlotCount - 1);
        while (_slots[at] != 0)
            at = (at + 1) & (SlotCount - 1);
        _slots[at] = ++_count;
    }

    private void Reset()
    {
        Array.Clear(_slots);
        _count = 0;
        _keyLength = 0;
        _ids.Clear(int.MaxValue);
    }

    private struct Entry
    {
        public uint Hash;
        public int KeyStart;
        public int KeyLength;
        public int IdStart;
        public int IdCount;
    }
}

/// <summary>
/// A byte string as a key of fixed size: up to 16 bytes the bytes themselves, so that equal keys are equal words;
/// beyond that their hash, and the words have to be compared.
/// </summary>
internal readonly struct WordKey
{
    /// <summary>Up to this many bytes the key is the word.</summary>
    public const int Exact = 16;

    // Per process, so that no text or vocabulary can be built to collide.
    private static readonly ulong Seed = BinaryPrimitives.ReadUInt64LittleEndian(RandomNumberGenerator.GetBytes(8));

    private readonly ulong _low;
    private readonly ulong _high;

    private WordKey(ulong low, ulong high) => (_low, _high) = (low, high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static WordKey Of(ReadOnlySpan<byte> word)
    {
        // The halves overlap where the word is shorter than both together; the length, kept beside the key, tells such
        // words apart.
        if (word.Length >= 8)
        {
            return word.Length > Exact
                ? new WordKey(TokenHash.Of(word), 0)
                : new WordKey(
                    BinaryPrimitives.ReadUInt64LittleEndian(word),
                    BinaryPrimitives.ReadUInt64LittleEndian(word[(word.Length - 8)..]));
        }

        if (word.Length >= 4)
        {
            return new WordKey(
                BinaryPrimitives.ReadUInt32LittleEndian(word),
                BinaryPrimitives.ReadUInt32LittleEndian(word[(word.Length - 4)..]));
        }

        return word.IsEmpty
            ? default
            : new WordKey(word[0] | (ulong)word[word.Length / 2] << 8 | (ulong)word[^1] << 16, 0);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Is(WordKey other) => _low == other._low && _high == other._high;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int SlotOf(int length, int mask)
    {
        var product = Math.BigMul(_low ^ Seed, _high ^ (Seed >> 7) ^ ((ulong)length << 57 | 1), out var rest);
        return (int)(((product ^ rest) * 0x9E3779B97F4A7C15) >> 32) & mask;
    }
}

/// <summary>
/// Hash of short byte strings. Seeded per process, so that a hostile vocabulary cannot be built to collide.
/// </summary>
internal static class TokenHash
{
    private const ulong Mix = 0x9E3779B97F4A7C15;
    private static readonly ulong Seed = BinaryPrimitives.ReadUInt64LittleEndian(RandomNumberGenerator.GetBytes(8));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static uint Of(ReadOnlySpan<byte> bytes)
    {
        var hash = Seed ^ ((ulong)bytes.Length * Mix);
        while (bytes.Length >= 8)
        {
            hash = Step(hash, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            bytes = bytes[8..];
        }

        ulong tail = 0;
        if (bytes.Length >= 4)
        {
            tail = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
            tail |= (ulong)BinaryPrimitives.ReadUInt32LittleEndian(bytes[^4..]) << 32;
        }
        else if (bytes.Length > 0)
        {
            tail = bytes[0] | ((ulong)bytes[bytes.Length / 2] << 8) | ((ulong)bytes[^1] << 16);
        }

        hash = Step(hash, tail);
        return (uint)(hash >> 32);
    }

    private static ulong Step(ulong hash, ulong value)
    {
        var high = Math.BigMul(hash ^ value ^ Mix, 0xD6E8FEB86659FD93 ^ Seed | 1, out var low);
        return BitOperations.RotateLeft(high ^ low, 29) * Mix;
    }
}
