namespace Peft.Formats.Tokenizers.Models;

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
