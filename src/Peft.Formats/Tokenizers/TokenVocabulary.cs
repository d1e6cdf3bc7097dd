using System.Runtime.CompilerServices;
using System.Text;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// Token text to id and back. Texts lie as UTF-8 in one array, so that loading 150,000 tokens makes no string each, and
/// a lookup takes a span.
/// </summary>
internal sealed class TokenVocabulary
{
    /// <summary>No real vocabulary comes near; a larger id would only make an attacker's file take memory.</summary>
    public const int HighestAllowedId = 2_097_151;

    private byte[] _text = new byte[1 << 16];
    private int _textLength;
    // By id: where the text starts, plus one; 0 where the id is not used.
    private int[] _starts = new int[1024];
    private int[] _lengths = new int[1024];
    // Open addressing. Short tokens, which are most, are found without leaving their slot.
    private Slot[] _slots = new Slot[4096];

    public int Count { get; private set; }

    /// <summary>One more than the highest id; ids need not be dense.</summary>
    public int EndId { get; private set; }

    public bool Contains(int id) => (uint)id < (uint)EndId && _starts[id] != 0;

    public ReadOnlySpan<byte> Utf8Of(int id) => _text.AsSpan(_starts[id] - 1, _lengths[id]);

    public string TextOf(int id) => Encoding.UTF8.GetString(Utf8Of(id));

    /// <summary>The id of a token, or -1.</summary>
    public int Find(ReadOnlySpan<byte> utf8)
    {
        var key = WordKey.Of(utf8);
        var mask = _slots.Length - 1;
        for (var at = key.SlotOf(utf8.Length, mask); ; at = (at + 1) & mask)
        {
            ref var slot = ref _slots[at];
            if (slot.EndId == 0)
                return -1;
            if (slot.Length == utf8.Length && slot.Key.Is(key)
                && (utf8.Length <= WordKey.Exact || Utf8Of(slot.EndId - 1).SequenceEqual(utf8)))
                return slot.EndId - 1;
        }
    }

    public int Find(ReadOnlySpan<char> text)
    {
        var most = Encoding.UTF8.GetMaxByteCount(text.Length);
        var buffer = most <= 512 ? stackalloc byte[most] : new byte[most];
        return Find(buffer[..Encoding.UTF8.GetBytes(text, buffer)]);
    }

    /// <summary>Adds a token. False when the text or the id is there already; nothing is changed then.</summary>
    public bool TryAdd(ReadOnlySpan<byte> utf8, int id)
    {
        if (Contains(id) || Find(utf8) >= 0)
            return false;
        if ((Count + 1) * 2 > _slots.Length)
            GrowSlots();
        if (id >= _starts.Length)
        {
            var size = Math.Max(id + 1, _starts.Length * 2);
            Array.Resize(ref _starts, size);
            Array.Resize(ref _lengths, size);
        }

        if (_textLength + utf8.Length > _text.Length)
            Array.Resize(ref _text, Math.Max(_text.Length * 2, _textLength + utf8.Length));
        utf8.CopyTo(_text.AsSpan(_textLength));
        _starts[id] = _textLength + 1;
        _lengths[id] = utf8.Length;
        _textLength += utf8.Length;
        Place(_slots, new Slot { Key = WordKey.Of(utf8), Length = utf8.Length, EndId = id + 1 });
        Count++;
        EndId = Math.Max(EndId, id + 1);
        return true;
    }

    private void GrowSlots()
    {
        var larger = new Slot[_slots.Length * 2];
        foreach (ref var slot in _slots.AsSpan())
        {
            if (slot.EndId != 0)
                Place(larger, slot);
        }

        _slots = larger;
    }

    private static void Place(Slot[] slots, Slot slot)
    {
        var mask = slots.Length - 1;
        var at = slot.Key.SlotOf(slot.Length, mask);
        while (slots[at].EndId != 0)
            at = (at + 1) & mask;
        slots[at] = slot;
    }

    private struct Slot
    {
        public WordKey Key;
        public int Length;
        // The id plus one; 0 is free.
        public int EndId;
    }
}
