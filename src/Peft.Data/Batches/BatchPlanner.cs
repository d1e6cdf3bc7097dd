namespace Peft.Data.Batches;

/// <summary>
/// Which sequences of a window make which batches. Without packing, those of like length share a batch; with packing,
/// the window is packed into rows and rows of like length share a batch. A plan is a function of the window and its
/// place, so nothing but the place has to be kept. Every sequence fits a row.
/// </summary>
internal sealed class BatchPlanner(BatchOptions options, int batchSize, long seed)
{
    private readonly bool _isBucketed = options.Shuffle && options.BucketWindow > 1;
    private readonly long _windowKey = (long)CounterRandom.Key(seed, (long)RandomStream.Window);

    /// <summary>The batches of a window: batches of rows of sequences.</summary>
    /// <param name="window">The window.</param>
    /// <param name="epoch">Its epoch, from 0.</param>
    /// <param name="number">Its number in the epoch, from 0.</param>
    public long[][][] Plan(Window window, long epoch, long number)
    {
        long[] indices = [.. Enumerable.Range(0, window.Count).Select(index => (long)index)];
        var key = CounterRandom.Key(_windowKey, epoch, number);
        var batches = options.RowLength > 0 ? Packed(indices, window.LengthOf, key) : Padded(indices, window.LengthOf);
        if (_isBucketed)
            Permutation.Shuffle(batches.AsSpan(), key);
        return batches;
    }

    private long[][][] Padded(long[] indices, Func<long, int> lengthOf)
    {
        if (_isBucketed)
        {
            // Equal lengths keep their random order: the sort is stable.
            indices = [.. indices.OrderBy(lengthOf)];
        }

        return [.. indices.Select(index => new[] { index }).Chunk(batchSize)];
    }

    private long[][][] Packed(long[] indices, Func<long, int> lengthOf, ulong key)
    {
        var packed = RowPacker.Pack(indices, lengthOf, options.RowLength, options.Shuffle);
        long[][] rows = [.. packed.Select(row => row.ToArray())];
        if (options.Shuffle)
        {
            // The packer's first rows hold the longest sequences: a batch shall hold a mixture, of rows that are filled
            // alike.
            Permutation.Shuffle(rows.AsSpan(), key);
            rows = [.. rows.OrderBy(row => row.Sum(lengthOf))];
        }

        // Batches of one size, or one row less: no small batch is left over in each window.
        var batches = new long[(rows.Length + batchSize - 1) / batchSize][][];
        for (var at = 0; at < batches.Length; at++)
            batches[at] = rows[Start(at)..Start(at + 1)];
        return batches;

        int Start(int batch) => (int)((long)rows.Length * batch / batches.Length);
    }
}

/// <summary>Puts sequences side by side into rows of a fixed length: each goes to the fullest row that still has room
/// for it.</summary>
/// <remarks>Source: Ding et al. 2024, arXiv:2404.10830, section 3 (best-fit-decreasing packing); n log n for n
/// sequences.</remarks>
internal static class RowPacker
{
    /// <summary>The rows in the order in which they were opened, each with its sequences in the order they
    /// came.</summary>
    /// <param name="indices">The sequences.</param>
    /// <param name="lengthOf">The length of a sequence, at most <paramref name="rowLength"/>.</param>
    /// <param name="rowLength">Tokens of a row.</param>
    /// <param name="isLongestFirst">Whether long sequences are placed first; equal lengths keep their order. If not,
    /// all do.</param>
    public static List<List<long>> Pack(
        IReadOnlyList<long> indices, Func<long, int> lengthOf, int rowLength, bool isLongestFirst)
    {
        var sequences = indices.Select(index => (Index: index, Length: lengthOf(index)));
        if (isLongestFirst)
            sequences = sequences.OrderByDescending(sequence => sequence.Length);
        var rows = new List<List<long>>();
        var open = new SortedSet<(int Room, int Row)>();
        foreach (var (index, length) in sequences)
        {
            var fitting = open.GetViewBetween((length, 0), (int.MaxValue, 0));
            var (room, row) = fitting.Count > 0 ? fitting.Min : (rowLength, rows.Count);
            if (row == rows.Count)
                rows.Add([]);
            open.Remove((room, row));
            rows[row].Add(index);
            if (room > length)
                open.Add((room - length, row));
        }

        return rows;
    }
}
