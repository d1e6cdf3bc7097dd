using System.Text;
using Peft.Training.Metrics;

namespace Peft.Training.Tests.Metrics;

public sealed class Crc32CTests
{
    [Fact]
    public void The_check_value_of_the_castagnoli_polynomial_comes_out() =>
        Assert.Equal(0xE3069283u, Crc32C.Of("123456789"u8));

    // RFC 3720, B.4.
    [Fact]
    public void The_examples_of_the_iscsi_standard_come_out()
    {
        Assert.Equal(0x8A9136AAu, Crc32C.Of(new byte[32]));
        Assert.Equal(0x62A8AB43u, Crc32C.Of(Enumerable.Repeat((byte)0xFF, 32).ToArray()));
        Assert.Equal(0x46DD794Eu, Crc32C.Of(Enumerable.Range(0, 32).Select(i => (byte)i).ToArray()));
        Assert.Equal(0x113FDB5Cu, Crc32C.Of(Enumerable.Range(0, 32).Select(i => (byte)(31 - i)).ToArray()));
    }

    [Fact]
    public void Nothing_has_checksum_zero() => Assert.Equal(0u, Crc32C.Of([]));

    [Fact]
    public void It_agrees_with_the_polynomial_bit_by_bit()
    {
        var bytes = Encoding.UTF8.GetBytes("routing/load/expert_3");
        Assert.Equal(BitByBit(bytes), Crc32C.Of(bytes));
    }

    [Fact]
    public void The_mask_is_tensorflows()
    {
        var crc = Crc32C.Of("abc"u8);
        Assert.Equal(unchecked(((crc >> 15) | (crc << 17)) + 0xA282EAD8u), Crc32C.Masked("abc"u8));
    }

    internal static uint BitByBit(ReadOnlySpan<byte> bytes)
    {
        var crc = 0xFFFFFFFFu;
        foreach (var value in bytes)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++)
                crc = (crc & 1) == 1 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
        }
        return ~crc;
    }
}
