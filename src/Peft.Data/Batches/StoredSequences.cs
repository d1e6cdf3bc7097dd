namespace Peft.Data.Batches;

/// <summary>Windows out of sequences that were all tokenised before: any of them can be had at once.</summary>
internal sealed class StoredSequences : ISequenceSource
{
    private readonly SequenceSet _set;
    private readonly SequenceOrder _order;
    private readonly long _windowSize;

    public StoredSequences(SequenceSet set, DataOptions options, int batchSize, long seed)
    {
        _set = set;
        _order = new SequenceOrder(set.Ranges, options.Shuffle, seed);
        // As many sequences as fill bucket_window batches of rows, judged by the mean length.
        var sequencesPerRow = options.RowLength == 0 ? 1 : Math.Max(1, options.RowLength * set.Count / Math.Max(1, set.Statistics.Tokens));
        _windowSize = batchSize * options.BucketWindow * sequencesPerRow;
        Start = new BatchStreamState(
            seed, batchSize, options.BucketWindow, options.RowLength, set.Count, set.DataSha256, 0, 0, 0, new long[_order.CounterCount]);
    }

    /// <inheritdoc/>
    public BatchStreamState Start { get; }

    /// <inheritdoc/>
    public long? SequencesPerEpoch => _order.Count;

    /// <inheritdoc/>
    public int PadId => _set.PadId;

    /// <inheritdoc/>
    public bool Has(BatchStreamState place) =>
        place.Window <= (_order.Count - 1) / _windowSize && place.Drawn.All(count => count >= 0);

    /// <inheritdoc/>
    public SequenceWindow Read(BatchStreamState at)
    {
        var start = at.Window * _windowSize;
        var indices = new long[Math.Min(_windowSize, _order.Count - start)];
        long[] drawn = [.. at.Drawn];
        _order.Fill(at.Epoch, start, indices, drawn);
        var isEpochEnd = start + indices.Length == _order.Count;
        return new SequenceWindow(
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
