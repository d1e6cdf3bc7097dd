using Peft.Data.Tokens;

namespace Peft.Data.Batches;

/// <summary>Windows out of sequences that were all tokenised before: any of them can be had at once.</summary>
internal sealed class StoredWindows : IWindowSource
{
    private readonly SequenceSet _set;
    private readonly DrawOrder _order;
    private readonly long _windowSize;

    public StoredWindows(SequenceSet set, BatchOptions options, int batchSize, long seed)
    {
        _set = set;
        _order = new DrawOrder(set.Ranges, options.Shuffle, seed);
        // As many sequences as fill bucket_window batches of rows, judged by the mean length.
        var sequencesPerRow = options.RowLength == 0
            ? 1
            : Math.Max(1, options.RowLength * set.Count / Math.Max(1, set.Statistics.Tokens));
        _windowSize = batchSize * options.BucketWindow * sequencesPerRow;
        Start = new BatchStreamState(
            seed, batchSize, options.BucketWindow, options.RowLength, set.Count, set.DataSha256, 0, 0, 0,
            new long[_order.CounterCount]);
    }

    /// <inheritdoc/>
    public BatchStreamState Start { get; }

    /// <inheritdoc/>
    public long? SequencesPerEpoch => _order.Count;

    /// <inheritdoc/>
    public int PadId => _set.PadId;

    /// <inheritdoc/>
    public StreamCounts? Counts => null;

    /// <inheritdoc/>
    public bool Has(BatchStreamState place) =>
        place.Window <= (_order.Count - 1) / _windowSize && place.Drawn.All(count => count >= 0);

    /// <inheritdoc/>
    public Window Read(BatchStreamState at)
    {
        var start = at.Window * _windowSize;
        var indices = new long[Math.Min(_windowSize, _order.Count - start)];
        long[] drawn = [.. at.Drawn];
        _order.Fill(at.Epoch, start, indices, drawn);
        var isEpochEnd = start + indices.Length == _order.Count;
        return new Window(
            indices.Length,
            index => _set.LengthOf(indices[index]),
            index => _set[indices[index]],
            at with
            {
                Epoch = isEpochEnd ? at.Epoch + 1 : at.Epoch,
                Window = isEpochEnd ? 0 : at.Window + 1,
                Batch = 0,
                Drawn = drawn,
            });
    }
}

/// <summary>Training sequences in the order in which they are drawn, a window at a time. What batches a window makes is
/// <see cref="BatchPlanner"/>'s business.</summary>
internal interface IWindowSource
{
    /// <summary>The place before the first sequence.</summary>
    BatchStreamState Start { get; }

    /// <summary>Sequences of an epoch; null where only reading tells.</summary>
    long? SequencesPerEpoch { get; }

    /// <summary>The token that fills up short rows.</summary>
    int PadId { get; }

    /// <summary>What became of the rows up to the end of the window read last; null where all were read
    /// before.</summary>
    StreamCounts? Counts { get; }

    /// <summary>Whether a place that fits the settings can be one of this source.</summary>
    bool Has(BatchStreamState place);

    /// <summary>The window at a place: the same for the same place, however it was reached.</summary>
    Window Read(BatchStreamState at);
}

/// <summary>Some sequences: those of <c>bucket_window</c> batches, or those that are left in the epoch.</summary>
/// <param name="Count">How many.</param>
/// <param name="LengthOf">Tokens of each.</param>
/// <param name="Sequence">Each of them.</param>
/// <param name="After">The place of the next window.</param>
internal sealed record Window(
    int Count, Func<long, int> LengthOf, Func<long, TokenSequence> Sequence, BatchStreamState After);
