namespace Peft.Data.Batches;

/// <summary>
/// Which sequences make which batches. A window of sequences is taken from the order; without packing, those of like length
/// share a batch; with packing, the window is packed into rows and rows of like length share a batch. A plan is a function of
/// epoch and window, so nothing but the position has to be kept.
/// </summary>
internal sealed class BatchPlanner
{
    private readonly SequenceSet _set;
    private readonly SequenceOrder _order;
    private readonly bool _isShuffled;
    private readonly int _batchSize;
    private readonly int _rowLength;
    private readonly bool _isBucketed;
    private readonly long _windowKey;

    /// <summary>Plans for a data section; every sequence fits a row.</summary>
    public BatchPlanner(SequenceSet set, DataOptions options, int batchSize, long seed)
    {
        _set = set;
        _order = new SequenceOrder(set.Ranges, options.Shuffle, seed);
        _isShuffled = options.Shuffle;
        _batchSize = batchSize;
        _rowLength = options.RowLength;
        _isBucketed = options.Shuffle && options.BucketWindow > 1;
        _windowKey = (long)CounterRandom.Key(seed, (long)SequenceOrder.Stream.Window);
        // As many sequences as fill bucket_window batches of rows, judged by the mean length.
        var sequencesPerRow = _rowLength == 0 ? 1 : Math.Max(1, _rowLength * set.Count / Math.Max(1, set.Statistics.Tokens));
        WindowSize = batchSize * options.BucketWindow * sequencesPerRow;
    }

    /// <summary>Sequences of a window; an epoch's last one may have fewer.</summary>
    public long WindowSize { get; }

    /// <summary>Sequences of an epoch.</summary>
    public long SequencesPerEpoch => _order.Count;

    /// <summary>Windows of an epoch.</summary>
    public long WindowsPerEpoch => (_order.Count + WindowSize - 1) / WindowSize;

    /// <summary>Counters that <see cref="Plan"/> needs.</summary>
    public int CounterCount => _order.CounterCount;

    /// <summary>The batches of a window: batches of rows of sequences.</summary>
    /// <param name="epoch">The epoch, from 0.</param>
    /// <param name="window">The window, from 0.</param>
    /// <param name="drawn">Sequences drawn of each weighted data set before; counted on.</param>
    public long[][][] Plan(long epoch, long window, Span<long> drawn)
    {
        var start = window * WindowSize;
        var indices = new long[Math.Min(WindowSize, _order.Count - start)];
        _order.Fill(epoch, start, indices, drawn);
        var key = CounterRandom.Key(_windowKey, epoch, window);
        var batches = _rowLength > 0 ? Packed(indices, key) : Padded(indices);
        if (_isBucketed)
            Permutation.Shuffle(batches.AsSpan(), key);
        return batches;
    }

    /// <summary>Tokens of a row: its sequences together.</summary>
    public int LengthOf(long[] row) => row.Sum(_set.LengthOf);

    private long[][][] Padded(long[] indices)
    {
        if (_isBucketed)
        {
            // Equal lengths keep their random order: the sort is stable.
            var lengths = indices.Select(_set.LengthOf).ToArray();
            indices = [.. Enumerable.Range(0, indices.Length).OrderBy(at => lengths[at]).Select(at => indices[at])];
        }

        return [.. indices.Select(index => new[] { index }).Chunk(_batchSize)];
    }

    private long[][][] Packed(long[] indices, ulong key)
    {
        long[][] rows = [.. RowPacker.Pack(indices, _set.LengthOf, _rowLength, _isShuffled).Select(row => row.ToArray())];
        if (_isShuffled)
        {
            // The packer's first rows hold the longest sequences: a batch shall hold a mixture, of rows that are filled alike.
            Permutation.Shuffle(rows.AsSpan(), key);
            rows = [.. rows.OrderBy(LengthOf)];
        }

        // Batches of one size, or one row less: no small batch is left over in each window.
        var batches = new long[(rows.Length + _batchSize - 1) / _batchSize][][];
        for (var at = 0; at < batches.Length; at++)
            batches[at] = rows[(int)((long)rows.Length * at / batches.Length)..(int)((long)rows.Length * (at + 1) / batches.Length)];
        return batches;
    }
}
