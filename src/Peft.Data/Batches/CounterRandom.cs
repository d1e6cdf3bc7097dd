namespace Peft.Data.Batches;

/// <summary>
/// Random numbers by counting: each is a pure function of a key and an index, so that a run can go on anywhere without
/// any saved state. SplitMix64's finaliser (Steele, Lea, Flood 2014) over key and index.
/// </summary>
public static class CounterRandom
{
    private const ulong Golden = 0x9E3779B97F4A7C15;

    /// <summary>A key out of a seed and numbers that name what is drawn; every seed counts, 0 and negative ones too.</summary>
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
    public static long Below(ulong key, ulong index, long bound) => (long)Math.BigMul(Bits(key, index), (ulong)bound, out _);

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
