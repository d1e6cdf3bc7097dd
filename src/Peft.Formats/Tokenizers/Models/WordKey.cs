using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;

namespace Peft.Formats.Tokenizers.Models;

/// <summary>
/// A byte string as a key of fixed size: up to 16 bytes the bytes themselves, so that equal keys are equal words; beyond
/// that their hash, and the words have to be compared.
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
