namespace Peft.Data.Batches;

/// <summary>Which data set is drawn at a place of an epoch: a function of seed, epoch and place.</summary>
internal sealed class DataSetChoice
{
    private readonly long _seed;
    private readonly double[]? _limits; // cumulated shares, the last is 1

    /// <param name="weights">The weight of each data set; a data set without one among others with one counts as 1.</param>
    /// <param name="seed">The seed.</param>
    public DataSetChoice(IReadOnlyList<double?> weights, long seed)
    {
        _seed = seed;
        if (!weights.Any(weight => weight is not null))
            return;
        var total = weights.Sum(weight => weight ?? 1);
        var sum = 0.0;
        _limits = [.. weights.Select(weight => sum += (weight ?? 1) / total)];
        _limits[^1] = 1;
    }

    /// <summary>Whether any data set has a weight.</summary>
    public bool IsWeighted => _limits is not null;

    /// <summary>A number from 0 to below 1.</summary>
    public double Point(long epoch, long place) =>
        CounterRandom.Unit(CounterRandom.Key(_seed, (long)SequenceOrder.Stream.Mixing, epoch), (ulong)place);

    /// <summary>The data set drawn by weight.</summary>
    public int ByWeight(long epoch, long place)
    {
        var point = Point(epoch, place);
        var chosen = 0;
        while (point >= _limits![chosen])
            chosen++;
        return chosen;
    }
}
