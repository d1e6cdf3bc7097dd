namespace Peft.Data.Batches;

/// <summary>One data set's sequences in a <see cref="SequenceSet"/>.</summary>
/// <param name="Start">Index of its first sequence.</param>
/// <param name="Count">How many it has.</param>
/// <param name="Weight">How often it is drawn; null when no data set of the run is weighted.</param>
internal sealed record DrawRange(long Start, long Count, double? Weight);

/// <summary>
/// Which sequence comes when. Without weights an epoch is each sequence once. With weights each place draws a data set
/// by weight and takes that one's next sequence; a data set begins again, in another order, when it is through. An
/// epoch then is as many places as there are sequences.
/// </summary>
internal sealed class DrawOrder
{
    private readonly DrawRange[] _ranges;
    private readonly bool _isShuffled;
    private readonly long _seed;
    private readonly WeightedDraw _choice;
    private readonly (long Pass, Permutation Order)?[] _passes;

    public DrawOrder(IEnumerable<DrawRange> ranges, bool isShuffled, long seed)
    {
        _ranges = [.. ranges.Where(range => range.Count > 0)];
        _isShuffled = isShuffled;
        _seed = seed;
        Count = _ranges.Sum(range => range.Count);
        _passes = new (long, Permutation)?[_ranges.Length + 1];
        _choice = new WeightedDraw([.. _ranges.Select(range => range.Weight)], seed);
    }

    /// <summary>Places in an epoch.</summary>
    public long Count { get; }

    /// <summary>How many counters <see cref="Fill"/> needs: one a data set when there are weights, else none.</summary>
    public int CounterCount => _choice.IsWeighted ? _ranges.Length : 0;

    /// <summary>The sequences at places <paramref name="start"/>... of an epoch.</summary>
    /// <param name="epoch">The epoch, from 0.</param>
    /// <param name="start">The first place.</param>
    /// <param name="indices">Takes the sequences' indices.</param>
    /// <param name="drawn">How many sequences of each data set were drawn before; counted on.</param>
    public void Fill(long epoch, long start, Span<long> indices, Span<long> drawn)
    {
        for (var at = 0; at < indices.Length; at++)
        {
            if (!_choice.IsWeighted)
            {
                indices[at] = PlaceOf(_ranges.Length, epoch, start + at, Count);
                continue;
            }

            var chosen = _choice.ByWeight(epoch, start + at);
            var (pass, place) = Math.DivRem(drawn[chosen]++, _ranges[chosen].Count);
            indices[at] = _ranges[chosen].Start + PlaceOf(chosen, pass, place, _ranges[chosen].Count);
        }
    }

    // slot: a data set, or the last one for all together.
    private long PlaceOf(int slot, long pass, long place, long count)
    {
        if (!_isShuffled)
            return place;
        if (_passes[slot] is not { } current || current.Pass != pass)
        {
            var key = CounterRandom.Key(_seed, (long)RandomStream.Order, slot, pass);
            _passes[slot] = current = (pass, new Permutation(count, key));
        }

        return current.Order[place];
    }
}

/// <summary>Which data set is drawn at a place of an epoch: a function of seed, epoch and place.</summary>
internal sealed class WeightedDraw
{
    private readonly long _seed;
    private readonly double[]? _limits; // cumulated shares, the last is 1

    /// <param name="weights">The weight of each data set; a data set without one among others with one counts as
    /// 1.</param>
    /// <param name="seed">The seed.</param>
    public WeightedDraw(IReadOnlyList<double?> weights, long seed)
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
        CounterRandom.Unit(CounterRandom.Key(_seed, (long)RandomStream.Mixing, epoch), (ulong)place);

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
