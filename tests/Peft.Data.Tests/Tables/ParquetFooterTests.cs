using System.Buffers.Binary;
using Peft.Data.Tables;

namespace Peft.Data.Tests.Tables;

public sealed class ParquetFooterTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_footer_of_a_written_file_is_whole()
    {
        _folder.WriteParquet("t.parquet", ("q", new[] { "a", "b" }), ("a", new[] { "1", "2" }));
        Assert.True(Whole(File.ReadAllBytes(Path.Combine(_folder.Path, "t.parquet"))));
    }

    [Fact]
    public void A_footer_that_ends_within_a_value_is_not()
    {
        _folder.WriteParquet("t.parquet", ("q", new[] { "a", "b" }));
        var bytes = File.ReadAllBytes(Path.Combine(_folder.Path, "t.parquet"));
        var length = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(bytes.Length - 8));
        for (var cut = 1; cut < length; cut++)
        {
            // The last bytes of the footer go; its length says so, as a torn copy's could.
            byte[] shorter =
                [.. bytes[..(bytes.Length - 8 - cut)], .. BitConverter.GetBytes(length - cut), .. "PAR1"u8];
            Assert.False(Whole(shorter), $"cut by {cut}");
        }
    }

    [Theory]
    [InlineData(new byte[] { 0x18, 1, (byte)'x', 0 })] // field 1 is a text, not a number
    // a number without an end
    [InlineData(new byte[] { 0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0 })]
    [InlineData(new byte[] { 0x29, 0xfc, 0xff, 0xff, 0xff, 0x7f, 0 })] // a list of more elements than bytes
    [InlineData(new byte[] { 0x68, 0x7f, 0 })] // a text longer than the footer
    public void Values_that_cannot_be_are_refused(byte[] footer)
    {
        Assert.False(Whole([.. "PAR1"u8, .. footer, .. BitConverter.GetBytes(footer.Length), .. "PAR1"u8]));
        Assert.True(Whole([.. "PAR1"u8, 0x15, 2, 0, .. BitConverter.GetBytes(3), .. "PAR1"u8]));
    }

    [Fact]
    public void Structures_within_structures_have_a_limit()
    {
        // An unknown field that is a structure, again and again.
        byte[] footer = [.. Enumerable.Repeat((byte)0xcc, 5000), .. new byte[5001]];
        Assert.False(Whole([.. "PAR1"u8, .. footer, .. BitConverter.GetBytes(footer.Length), .. "PAR1"u8]));
    }

    private static bool Whole(byte[] file) => ParquetFooter.IsWhole(new MemoryStream(file));
}
