namespace Peft.Data;

/// <summary>Sequences padded on the right to one length, ready for a model. B = BatchSize, T = Length.</summary>
/// <param name="BatchSize">Number of sequences B.</param>
/// <param name="Length">Length T of the longest sequence.</param>
/// <param name="Ids">Token ids [B*T], row by row.</param>
/// <param name="Targets">[B*T]: at (b, t) the token at t+1 where that one is learned, else <see cref="Ignored"/>.</param>
/// <param name="Lengths">Real tokens of each sequence [B].</param>
/// <param name="TaskIds">Task of each sequence [B].</param>
/// <param name="Rows">Origin of each sequence [B].</param>
/// <param name="LearnedTokens">How many targets count.</param>
public sealed record TokenBatch(
    int BatchSize, int Length, int[] Ids, int[] Targets, int[] Lengths, int[] TaskIds, RowId[] Rows, long LearnedTokens)
{
    /// <summary>The target that no loss counts (PyTorch's ignore_index).</summary>
    public const int Ignored = -100;

    /// <summary>Pads sequences to the longest one.</summary>
    public static TokenBatch Of(IReadOnlyList<TokenSequence> sequences, int padId)
    {
        ArgumentOutOfRangeException.ThrowIfZero(sequences.Count, nameof(sequences));
        var (b, t) = (sequences.Count, sequences.Max(sequence => sequence.Ids.Length));
        var ids = new int[b * t];
        var targets = new int[b * t];
        Array.Fill(ids, padId);
        Array.Fill(targets, Ignored);
        var learned = 0L;
        for (var row = 0; row < b; row++)
        {
            var sequence = sequences[row];
            sequence.Ids.CopyTo(ids, row * t);
            for (var at = 1; at < sequence.Ids.Length; at++)
            {
                if (!sequence.Learned[at])
                    continue;
                targets[row * t + at - 1] = sequence.Ids[at];
                learned++;
            }
        }

        return new TokenBatch(
            b,
            t,
            ids,
            targets,
            [.. sequences.Select(sequence => sequence.Ids.Length)],
            [.. sequences.Select(sequence => sequence.TaskId)],
            [.. sequences.Select(sequence => sequence.Row)],
            learned);
    }
}
