using Peft.Data.Batches;

namespace Peft.Data.Tests.Batches;

public class PermutationTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(1000)]
    [InlineData(65537)]
    [InlineData(300_000)]
    public void Every_number_comes_once(int count)
    {
        var order = new Permutation(count, CounterRandom.Key(0));
        var seen = new bool[count];
        for (var place = 0; place < count; place++)
            seen[order[place]] = true;
        Assert.All(seen, Assert.True);
        Assert.Throws<ArgumentOutOfRangeException>(() => order[count]);
    }

    [Theory]
    [InlineData(5000)]
    [InlineData(100_000)]
    public void Places_and_numbers_are_not_related(int count)
    {
        var order = new Permutation(count, CounterRandom.Key(7));
        var (mean, fixedPoints, product) = ((count - 1) / 2.0, 0, 0.0);
        for (var place = 0; place < count; place++)
        {
            product += (place - mean) * (order[place] - mean);
            fixedPoints += order[place] == place ? 1 : 0;
        }

        var correlation = product / (count * ((double)count * count - 1) / 12);
        Assert.InRange(correlation, -4 / Math.Sqrt(count), 4 / Math.Sqrt(count));
        Assert.InRange(fixedPoints, 0, 8); // 1 is to be expected
    }

    [Fact]
    public void Seeds_give_different_orders_and_0_is_a_seed()
    {
        long[] seeds = [0, 1, -1, long.MinValue, long.MaxValue];
        Assert.Equal(
            seeds.Length, seeds.Select(seed => new Permutation(1000, CounterRandom.Key(seed))[0]).Distinct().Count());
        Assert.NotEqual(CounterRandom.Key(0, 1, 0), CounterRandom.Key(0, 0, 1));
    }

    [Fact]
    public void Numbers_are_pinned_so_that_saved_runs_stay_valid()
    {
        // A change here changes the order of every run: old checkpoints would go on with other data.
        Assert.Equal(
            [5L, 15, 7, 1, 10],
            Enumerable.Range(0, 5).Select(at => CounterRandom.Below(CounterRandom.Key(42), (ulong)at, 16)));
    }
}
