using Peft.Evaluation.Metrics;

namespace Peft.Evaluation.Tests.Metrics;

public sealed class EditDistanceTests
{
    [Theory]
    [InlineData("", "", 0)]
    [InlineData("abc", "abc", 0)]
    [InlineData("", "abc", 3)]
    [InlineData("abc", "", 3)]
    [InlineData("kitten", "sitting", 3)]
    [InlineData("saturday", "sunday", 3)]
    [InlineData("flaw", "lawn", 2)]
    [InlineData("ab", "ba", 2)] // a swap is two edits
    [InlineData("a", "b", 1)]
    [InlineData("gumbo", "gambol", 2)]
    public void Known_distances_come_out(string a, string b, int distance)
    {
        Assert.Equal(distance, EditDistance.Between(a.ToCharArray(), b.ToCharArray()));
        Assert.Equal(distance, EditDistance.Between(b.ToCharArray(), a.ToCharArray()));
    }

    [Fact]
    public void It_is_the_least_number_of_edits_that_a_search_finds()
    {
        var random = new Random(1);
        for (var time = 0; time < 300; time++)
        {
            var (a, b) = (Word(random), Word(random));
            Assert.Equal(Least(a, b, []), EditDistance.Between(a.ToCharArray(), b.ToCharArray()));
        }
    }

    [Fact]
    public void No_detour_is_shorter()
    {
        var random = new Random(2);
        for (var time = 0; time < 200; time++)
        {
            var (a, b, c) = (Word(random), Word(random), Word(random));
            Assert.True(Of(a, c) <= Of(a, b) + Of(b, c));
            Assert.InRange(Of(a, b), Math.Abs(a.Length - b.Length), Math.Max(a.Length, b.Length));
        }
    }

    [Fact]
    public void Items_are_compared_as_wholes() =>
        Assert.Equal(1, EditDistance.Between(["AH0", "B", "K"], ["AH1", "B", "K"]));

    private static int Of(string a, string b) => EditDistance.Between(a.ToCharArray(), b.ToCharArray());

    private static string Word(Random random) =>
        string.Concat(Enumerable.Range(0, random.Next(9)).Select(_ => (char)('a' + random.Next(3))));

    // The definition, from the ends backwards.
    private static int Least(string a, string b, Dictionary<(int, int), int> known)
    {
        if (a.Length == 0 || b.Length == 0)
            return a.Length + b.Length;
        if (known.TryGetValue((a.Length, b.Length), out var found))
            return found;
        var least = a[^1] == b[^1]
            ? Least(a[..^1], b[..^1], known)
            : 1 + new[] { Least(a[..^1], b, known), Least(a, b[..^1], known), Least(a[..^1], b[..^1], known) }.Min();
        known[(a.Length, b.Length)] = least;
        return least;
    }
}
