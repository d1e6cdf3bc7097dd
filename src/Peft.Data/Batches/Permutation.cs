namespace Peft.Data.Batches;

/// <summary>
/// A random order of the numbers 0 to n-1. Small ones are shuffled (Fisher-Yates); large ones are computed place by place
/// by a Feistel network over the next even power of two, walking on until the number is below n. So 10 million sequences
/// are shuffled as a whole without memory, and any place can be asked for at once.
/// </summary>
internal sealed class Permutation
{
    private const int LargestTable = 1 << 16;
    private const int Rounds = 8;
    private readonly long _count;
    private readonly ulong _key;
    private readonly int _halfBits;
    private readonly int[]? _table;

    public Permutation(long count, ulong key)
    {
        _count = count;
        _key = key;
        if (count <= LargestTable)
        {
            _table = [.. Enumerable.Range(0, (int)count)];
            Shuffle(_table, key);
            return;
        }

        while (1L << (2 * _halfBits) < count)
            _halfBits++;
    }

    /// <summary>The number at a place.</summary>
    public long this[long place]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)place, (ulong)_count, nameof(place));
            if (_table is not null)
                return _table[place];
            do
                place = Encrypt(place);
            while (place >= _count);
            return place;
        }
    }

    /// <summary>Shuffles in place (Fisher-Yates).</summary>
    public static void Shuffle<T>(Span<T> items, ulong key)
    {
        for (var at = items.Length - 1; at > 0; at--)
        {
            var other = (int)CounterRandom.Below(key, (ulong)at, at + 1);
            (items[at], items[other]) = (items[other], items[at]);
        }
    }

    private long Encrypt(long value)
    {
        var mask = (1UL << _halfBits) - 1;
        var (left, right) = ((ulong)value >> _halfBits, (ulong)value & mask);
        for (var round = 0UL; round < Rounds; round++)
            (left, right) = (right, left ^ CounterRandom.Bits(_key, right << 4 | round) & mask);
        return (long)(left << _halfBits | right);
    }
}
