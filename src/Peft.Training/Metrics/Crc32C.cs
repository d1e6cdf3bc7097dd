using System.Numerics;

namespace Peft.Training.Metrics;

/// <summary>CRC-32C (Castagnoli), which TensorFlow's record files carry in masked form.</summary>
public static class Crc32C
{
    /// <summary>Checksum of the bytes, e.g. 0xE3069283 for the ASCII text "123456789".</summary>
    public static uint Of(ReadOnlySpan<byte> bytes)
    {
        var crc = 0xFFFFFFFFu;
        foreach (var value in bytes)
            crc = BitOperations.Crc32C(crc, value);
        return ~crc;
    }

    /// <summary>The checksum rotated right by 15 bits plus a constant, as tensorflow/core/lib/hash/crc32c.h masks it.</summary>
    public static uint Masked(ReadOnlySpan<byte> bytes) => BitOperations.RotateRight(Of(bytes), 15) + 0xA282EAD8u;
}
