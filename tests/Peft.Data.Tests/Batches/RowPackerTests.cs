using Peft.Data.Batches;

namespace Peft.Data.Tests.Batches;

public class RowPackerTests
{
    [Fact]
    public void A_sequence_goes_to_the_fullest_row_that_has_room()
    {
        // Longest first: 7 and 6 open rows; 4 fits beside 6 only, 3 fills 7, and the last 3 opens a row.
        Assert.Equal("7+3 6+4 3", Packed(10, true, 3, 7, 4, 6, 3));
        // First fit would put the 2 into the first row, which it fits too.
        Assert.Equal("5 8+2", Packed(10, false, 5, 8, 2));
    }

    [Fact]
    public void As_they_come_sequences_keep_their_order() =>
        Assert.Equal("3+4+3 7 6", Packed(10, false, 3, 4, 7, 6, 3));

    [Fact]
    public void Rows_are_never_too_long_and_every_sequence_is_in_one()
    {
        var random = new Random(4);
        var lengths = Enumerable.Range(0, 500).Select(_ => random.Next(1, 33)).ToArray();
        var rows = RowPacker.Pack([.. Enumerable.Range(0, 500).Select(at => (long)at)], at => lengths[at], 32, true);
        Assert.All(rows, row => Assert.InRange(row.Sum(at => lengths[at]), 1, 32));
        Assert.Equal(Enumerable.Range(0, 500).Select(at => (long)at), rows.SelectMany(row => row).Order());
        Assert.InRange(rows.Count / (lengths.Sum() / 32.0), 1, 1.06); // nearly the least there can be
    }

    private static string Packed(int rowLength, bool isLongestFirst, params int[] lengths) => string.Join(' ', RowPacker
        .Pack(
            [.. Enumerable.Range(0, lengths.Length).Select(at => (long)at)], at => lengths[at], rowLength,
            isLongestFirst)
        .Select(row => string.Join('+', row.Select(at => lengths[at]))));
}
