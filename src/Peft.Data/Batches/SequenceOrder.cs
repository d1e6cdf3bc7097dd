namespace Peft.Data.Batches;

/// <summary>One data set's sequences in the store.</summary>
/// <param name="Start">Index of its first sequence.</param>
/// <param name="Count">How many it has.</param>
/// <param name="Weight">How often it is drawn; null when no data set of the run is weighted.</param>
internal sealed record SequenceRange(long Start, long Count, double? Weight);

/// <summary>
/// Which sequence comes when. Without weights an epoch is each sequence once. With weights each place draws a data set by
/// weight and takes that one's next sequence; a data set begins again, in another order, when it is through. An epoch
/// then is as many places as there are sequences.
/// </summary>
internal sealed class SequenceOrder
{
    private readonly SequenceRange[] _ranges;
    private readonly bool _isShuffled;
    private readonly long _seed;
    private readonly DataSetChoice _choice;
    private readonly (long Pass, Permutation Order)?[] _passes;

    public SequenceOrder(IEnumerable<SequenceRange> ranges, bool isShuffled, long seed)
    {
        _ranges = [.. ranges.Where(range => range.Count > 0)];
        _isShuffled = isShuffled;
        _seed = seed;
        Count = _ranges.Sum(range => range.Count);
        _passes = new (long, Permutation)?[_ranges.Length + 1];
        _choice = new DataSetChoice([.. _ranges.Select(range => range.Weight)], seed);
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
            _passes[slot] = current = (pass, new Permutation(count, CounterRandom.Key(_seed, (long)Stream.Order, slot, pass)));
        return current.Order[place];
    }

    /// <summary>Keeps the random numbers of different uses apart.</summary>
    internal enum Stream
    {
        /// <summary>The order of sequences.</summary>
        Order = 1,

        /// <summary>Which data set is drawn.</summary>
        Mixing = 2,

        /// <summary>The order of batches in a window.</summary>
        Window = 3,

        /// <summary>The order of rows in a block that is streamed.</summary>
        Block = 4,
    }
}
