namespace Peft.Data.Batches;

/// <summary>
/// Random numbers by counting: each is a pure function of a key and an index, so that a run can go on anywhere without
/// any saved state. SplitMix64's finaliser (Steele, Lea, Flood 2014) over key and index.
/// </summary>
public static class CounterRandom
{
    private const ulong Golden = 0x9E3779B97F4A7C15;

    /// <summary>A key out of a seed and numbers that name what is drawn; every seed counts, 0 and negative ones
    /// too.</summary>
    public static ulong Key(long seed, params ReadOnlySpan<long> parts)
    {
        var key = Mix(unchecked((ulong)seed + Golden));
        foreach (var part in parts)
            key = Mix(unchecked(key + ((ulong)part + 1) * Golden));
        return key;
    }

    /// <summary>64 random bits.</summary>
    public static ulong Bits(ulong key, ulong index) => Mix(unchecked(key + (index + 1) * Golden));

    /// <summary>A number from 0 to below <paramref name="bound"/>; the bias is below bound / 2^64.</summary>
    public static long Below(ulong key, ulong index, long bound) =>
        (long)Math.BigMul(Bits(key, index), (ulong)bound, out _);

    /// <summary>A number from 0 to below 1, of 53 bits.</summary>
    public static double Unit(ulong key, ulong index) => (Bits(key, index) >> 11) * (1.0 / (1L << 53));

    private static ulong Mix(ulong z)
    {
        unchecked
        {
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }
}

/// <summary>
/// A random order of the numbers 0 to n-1. Small ones are shuffled (Fisher-Yates); large ones are computed place by
/// place by a Feistel network over the next even power of two, walking on until the number is below n. So 10 million
/// sequences are shuffled as a whole without memory, and any place can be asked for at once.
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

/// <summary>Keeps the random numbers of different uses apart.</summary>
internal enum RandomStream
{
    /// <summary>The order of sequences.</summary>
    Order = 1,

    /// <summary>Which data set is drawn.</summary>
    Mixing = 2,

    /// <summary>The order of batches in a window.</summary>
    Window = 3,

    /// <summary>The order of rows in a block that is streamed.</summary>
    Block = 4,
}
