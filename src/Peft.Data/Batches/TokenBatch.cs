using Peft.Data.Tables;
using Peft.Data.Tokens;

namespace Peft.Data.Batches;

/// <summary>Rows of one length, ready for a model: a sequence each, padded on the right, or packed ones, several
/// sequences each. B = BatchSize rows, T = Length, S sequences (S = B unless rows are packed).</summary>
/// <param name="BatchSize">Number of rows B.</param>
/// <param name="Length">Length T of the longest row.</param>
/// <param name="Ids">Token ids [B*T], row by row.</param>
/// <param name="Targets">[B*T]: at (b, t) the token at t+1 where that one is learned and of the same sequence, else
/// <see cref="Ignored"/>.</param>
/// <param name="Starts">First token of each sequence [S] in the flattened B*T tokens, rising.</param>
/// <param name="Lengths">Real tokens of each sequence [S].</param>
/// <param name="TaskIds">Task of each sequence [S].</param>
/// <param name="Rows">Origin of each sequence [S].</param>
/// <param name="LearnedTokens">How many targets count.</param>
public sealed record TokenBatch(
    int BatchSize, int Length, int[] Ids, int[] Targets, int[] Starts, int[] Lengths, int[] TaskIds, RowId[] Rows,
    long LearnedTokens)
{
    /// <summary>The target that no loss counts (PyTorch's ignore_index).</summary>
    public const int Ignored = -100;

    /// <summary>Number of sequences S.</summary>
    public int SequenceCount => Starts.Length;

    /// <summary>Whether any row holds more than one sequence.</summary>
    public bool IsPacked => SequenceCount > BatchSize;

    /// <summary>Pads sequences to the longest one, one a row.</summary>
    public static TokenBatch Of(IReadOnlyList<TokenSequence> sequences, int padId) =>
        OfRows([.. sequences.Select(sequence => new[] { sequence })], padId);

    /// <summary>Puts the sequences of each row side by side and pads rows to the longest one.</summary>
    public static TokenBatch OfRows(IReadOnlyList<IReadOnlyList<TokenSequence>> rows, int padId)
    {
        ArgumentOutOfRangeException.ThrowIfZero(rows.Count, nameof(rows));
        var (b, t) = (rows.Count, rows.Max(row => row.Sum(sequence => sequence.Ids.Length)));
        var ids = new int[b * t];
        var targets = new int[b * t];
        Array.Fill(ids, padId);
        Array.Fill(targets, Ignored);
        var starts = new List<int>();
        var learned = 0L;
        for (var row = 0; row < b; row++)
        {
            var start = row * t;
            foreach (var sequence in rows[row])
            {
                starts.Add(start);
                sequence.Ids.CopyTo(ids, start);
                foreach (var run in sequence.Learned)
                    sequence.Ids.AsSpan(run.Start..run.End).CopyTo(targets.AsSpan(start + run.Start - 1));
                learned += sequence.LearnedTokens;
                start += sequence.Ids.Length;
            }
        }

        var all = rows.SelectMany(row => row).ToList();
        return new TokenBatch(
            b,
            t,
            ids,
            targets,
            [.. starts],
            [.. all.Select(sequence => sequence.Ids.Length)],
            [.. all.Select(sequence => sequence.TaskId)],
            [.. all.Select(sequence => sequence.Row)],
            learned);
    }

    /// <summary>Real tokens of each row [B].</summary>
    public long[] RowTokens
    {
        get
        {
            var tokens = new long[BatchSize];
            for (var sequence = 0; sequence < SequenceCount; sequence++)
                tokens[Starts[sequence] / Length] += Lengths[sequence];
            return tokens;
        }
    }

    /// <summary>Some of the rows, as long as they are here.</summary>
    /// <param name="rows">Which, rising.</param>
    public TokenBatch Part(IReadOnlyList<int> rows)
    {
        var at = rows.Index().ToDictionary(row => row.Item, row => row.Index);
        int[] kept = [.. Enumerable.Range(0, SequenceCount).Where(one => at.ContainsKey(Starts[one] / Length))];
        int[] targets = [.. rows.SelectMany(row => Targets.AsSpan(row * Length, Length).ToArray())];
        return new TokenBatch(
            rows.Count,
            Length,
            [.. rows.SelectMany(row => Ids.AsSpan(row * Length, Length).ToArray())],
            targets,
            [.. kept.Select(one => at[Starts[one] / Length] * Length + Starts[one] % Length)],
            [.. kept.Select(one => Lengths[one])],
            [.. kept.Select(one => TaskIds[one])],
            [.. kept.Select(one => Rows[one])],
            targets.LongCount(target => target != Ignored));
    }

    /// <summary>The sequence that a flattened position belongs to; padding belongs to the sequence before it.</summary>
    public int SequenceAt(long position)
    {
        var found = Array.BinarySearch(Starts, (int)position);
        return found >= 0 ? found : ~found - 1;
    }
}
