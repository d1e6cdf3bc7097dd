namespace Peft.Data.Tokens;

/// <summary>What became of the rows of a data set, or of several together.</summary>
public sealed record DataStatistics
{
    /// <summary>The data set's name.</summary>
    public required string Name { get; init; }

    /// <summary>Rows read.</summary>
    public long Rows { get; init; }

    /// <summary>Rows that the filter left out.</summary>
    public long FilteredRows { get; init; }

    /// <summary>Rows skipped as unusable.</summary>
    public long BadRows { get; init; }

    /// <summary>Rows skipped because the answer is longer than max_length.</summary>
    public long LongRows { get; init; }

    /// <summary>Rows skipped because there is nothing to learn of a single token.</summary>
    public long UnlearnableRows { get; init; }

    /// <summary>Rows whose answer is empty, or nothing but white space: that nothing follows is learned of
    /// them.</summary>
    public long EmptyAnswers { get; init; }

    /// <summary>Rows that were read, not filtered out, and make no sequence.</summary>
    public long DroppedRows => BadRows + LongRows + UnlearnableRows;

    /// <summary>Sequences made.</summary>
    public long Sequences { get; init; }

    /// <summary>Tokens in them.</summary>
    public long Tokens { get; init; }

    /// <summary>Tokens that the loss counts.</summary>
    public long LearnedTokens { get; init; }

    /// <summary>Tokens left out to fit max_length.</summary>
    public long CutTokens { get; init; }

    /// <summary>Sequences that lost tokens.</summary>
    public long CutSequences { get; init; }

    /// <summary>Turns of conversations left out to fit max_length.</summary>
    public long CutTurns { get; init; }

    /// <summary>Conversations that lost turns.</summary>
    public long CutConversations { get; init; }

    /// <summary>Lengths of the sequences, in tokens.</summary>
    public LengthStatistics Lengths { get; init; } = new(0, 0, 0, 0, 0);

    /// <summary>Sequences of each task, in order of task id.</summary>
    public IReadOnlyList<KeyValuePair<string, long>> Tasks { get; init; } = [];

    /// <summary>Several data sets together.</summary>
    /// <param name="parts">The statistics of each.</param>
    /// <param name="lengths">The lengths of all their sequences.</param>
    /// <param name="tasks">Task names by id.</param>
    internal static DataStatistics Sum(
        IReadOnlyList<DataStatistics> parts, LengthStatistics lengths, IReadOnlyList<string> tasks)
    {
        var counts = parts.SelectMany(part => part.Tasks).GroupBy(task => task.Key)
            .ToDictionary(group => group.Key, group => group.Sum(task => task.Value));
        return new DataStatistics
        {
            Name = "all",
            Rows = parts.Sum(part => part.Rows),
            FilteredRows = parts.Sum(part => part.FilteredRows),
            BadRows = parts.Sum(part => part.BadRows),
            LongRows = parts.Sum(part => part.LongRows),
            UnlearnableRows = parts.Sum(part => part.UnlearnableRows),
            EmptyAnswers = parts.Sum(part => part.EmptyAnswers),
            Sequences = parts.Sum(part => part.Sequences),
            Tokens = parts.Sum(part => part.Tokens),
            LearnedTokens = parts.Sum(part => part.LearnedTokens),
            CutTokens = parts.Sum(part => part.CutTokens),
            CutSequences = parts.Sum(part => part.CutSequences),
            CutTurns = parts.Sum(part => part.CutTurns),
            CutConversations = parts.Sum(part => part.CutConversations),
            Lengths = lengths,
            Tasks = [.. tasks.Where(counts.ContainsKey).Select(name => KeyValuePair.Create(name, counts[name]))],
        };
    }
}

/// <summary>Exact percentiles of sequence lengths, in tokens.</summary>
/// <param name="Shortest">The least.</param>
/// <param name="Median">Half are not longer.</param>
/// <param name="P90">90 % are not longer.</param>
/// <param name="P99">99 % are not longer.</param>
/// <param name="Longest">The greatest.</param>
public sealed record LengthStatistics(int Shortest, int Median, int P90, int P99, int Longest)
{
    /// <summary>From how many sequences there are of each length.</summary>
    internal static LengthStatistics Of(IReadOnlyList<long> histogram)
    {
        var total = histogram.Sum();
        return total == 0
            ? new LengthStatistics(0, 0, 0, 0, 0)
            : new LengthStatistics(At(0), At(0.5), At(0.9), At(0.99), At(1));

        int At(double share)
        {
            var rank = Math.Max(1, (long)Math.Ceiling(share * total));
            var length = -1;
            for (var seen = 0L; seen < rank;)
                seen += histogram[++length];
            return length;
        }
    }
}
