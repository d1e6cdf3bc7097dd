namespace Peft.Data.Batches;

/// <summary>Puts sequences side by side into rows of a fixed length: each goes to the fullest row that still has room for it.</summary>
/// <remarks>Source: Ding et al. 2024, arXiv:2404.10830, section 3 (best-fit-decreasing packing); n log n for n sequences.</remarks>
internal static class RowPacker
{
    /// <summary>The rows in the order in which they were opened, each with its sequences in the order they came.</summary>
    /// <param name="indices">The sequences.</param>
    /// <param name="lengthOf">The length of a sequence, at most <paramref name="rowLength"/>.</param>
    /// <param name="rowLength">Tokens of a row.</param>
    /// <param name="isLongestFirst">Whether long sequences are placed first; equal lengths keep their order. If not, all do.</param>
    public static List<List<long>> Pack(IReadOnlyList<long> indices, Func<long, int> lengthOf, int rowLength, bool isLongestFirst)
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
