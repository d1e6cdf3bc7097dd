namespace Peft.Data;

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

    /// <summary>Lengths of the sequences, in tokens.</summary>
    public LengthStatistics Lengths { get; init; } = new(0, 0, 0, 0, 0);

    /// <summary>Sequences of each task, in order of task id.</summary>
    public IReadOnlyList<KeyValuePair<string, long>> Tasks { get; init; } = [];
}
