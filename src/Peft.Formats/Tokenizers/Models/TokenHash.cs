using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;

namespace Peft.Formats.Tokenizers.Models;

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
