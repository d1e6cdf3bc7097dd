using Peft.Prepare.DataSets;

namespace Peft.Prepare.Tests.DataSets;

public sealed class SplitTests
{
    [Fact]
    public void The_hash_of_a_key_is_the_first_four_bytes_of_its_SHA_256()
    {
        Assert.Equal(0xba7816bfu, Split.Hash("abc"));
        Assert.StartsWith("ba7816bf8f01cfea", Split.OrderOf("abc"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(5, 5, "train")]
    [InlineData(10, 10, "test")]
    [InlineData(19, 1, "test")]
    [InlineData(20, 0, "validation")]
    public void The_hash_modulo_100_decides(int validation, int test, string expected) =>
        Assert.Equal(expected, new Split(validation, test).Of("abc")); // 3,128,432,319

    [Fact]
    public void Without_a_percentage_there_is_no_test_split()
    {
        Assert.Equal(["train", "validation", "test"], new Split(5, 5).Names);
        Assert.Equal(["train", "validation"], new Split(1, 0).Names);
    }

    [Fact]
    public void Held_out_shares_are_about_the_percentages()
    {
        var counts = Enumerable.Range(0, 10_000).CountBy(number => new Split(5, 10).Of($"key {number}")).ToDictionary();
        Assert.InRange(counts["validation"], 430, 570);
        Assert.InRange(counts["test"], 900, 1_100);
    }
}
