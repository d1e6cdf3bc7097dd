using Peft.Data.Batches;

namespace Peft.Training.Ranks;

/// <summary>What one rank computes of a micro-batch.</summary>
/// <param name="Batch">Its rows.</param>
/// <param name="Rows">Which rows of the micro-batch they are; null where one rank computes all of it.</param>
public sealed record RankPart(TokenBatch Batch, IReadOnlyList<long>? Rows);

/// <summary>Shares the rows of a step out to ranks: a function of the batches and the number of ranks alone, so that
/// nothing is said about it.</summary>
/// <remarks>
/// A micro-batch of at least as many rows as there are ranks is shared by all, equally many rows each but for one, the
/// ranks with the fewest tokens so far first. Where there are fewer rows, one rank computes it, and the ranks take
/// turns by tokens. The last micro-batch is always one of rank 0's, which reports on its routing.
/// </remarks>
public static class RankPlan
{
    /// <summary>What a rank computes of each micro-batch; null where it computes nothing of it.</summary>
    public static IReadOnlyList<RankPart?> Of(IReadOnlyList<TokenBatch> micro, int ranks, int rank)
    {
        if (ranks == 1)
            return [.. micro.Select(batch => new RankPart(batch, null))];
        var rows = Rows(micro, ranks);
        return
        [
            .. micro.Select((batch, index) => (batch, own: rows[index][rank])).Select(part =>
                part.own.Count == 0 ? null
                : part.batch.BatchSize < ranks ? new RankPart(part.batch, null)
                : new RankPart(part.batch.Part(part.own), [.. part.own.Select(row => (long)row)])),
        ];
    }

    /// <summary>The rows of each rank in each micro-batch.</summary>
    public static IReadOnlyList<IReadOnlyList<IReadOnlyList<int>>> Rows(IReadOnlyList<TokenBatch> micro, int ranks)
    {
        var load = new long[ranks];
        var parts = micro.Select(_ => (IReadOnlyList<int>[])[]).ToArray();
        foreach (var (index, batch) in micro.Index())
            parts[index] = batch.BatchSize < ranks ? Whole(batch, load) : Shared(batch, load);
        // A name is as good as another: the rank of the last micro-batch is called 0.
        var last = Array.FindIndex(parts[^1], own => own.Count > 0);
        foreach (var own in parts)
            (own[0], own[last]) = (own[last], own[0]);
        return parts;
    }

    /// <summary>The most rows of a micro-batch that one rank computes.</summary>
    public static long MostRows(long rows, int ranks) => rows < ranks ? rows : (rows + ranks - 1) / ranks;

    private static IReadOnlyList<int>[] Whole(TokenBatch batch, long[] load)
    {
        var owner = Array.IndexOf(load, load.Min());
        load[owner] += batch.RowTokens.Sum();
        return [.. load.Select((_, rank) => rank == owner ? Enumerable.Range(0, batch.BatchSize).ToList() : [])];
    }

    private static IReadOnlyList<int>[] Shared(TokenBatch batch, long[] load)
    {
        var tokens = batch.RowTokens;
        var own = load.Select(_ => new List<int>()).ToArray();
        var (least, more) = (batch.BatchSize / load.Length, batch.BatchSize % load.Length);
        foreach (var row in Enumerable.Range(0, batch.BatchSize).OrderByDescending(row => tokens[row]))
        {
            // A rank is full with the rows that all have, and one more while such are left.
            var open = Enumerable.Range(0, load.Length).Where(rank =>
                own[rank].Count < least
                || own[rank].Count == least && own.Count(rows => rows.Count > least) < more);
            var rank = open.MinBy(rank => load[rank]);
            own[rank].Add(row);
            load[rank] += tokens[row];
        }
        return [.. own.Select(rows => (IReadOnlyList<int>)[.. rows.Order()])];
    }
}
