namespace Peft.Data.Batches;

/// <summary>Training sequences in the order in which they are drawn, a window at a time. What batches a window makes is
/// <see cref="BatchPlanner"/>'s business.</summary>
internal interface ISequenceSource
{
    /// <summary>The place before the first sequence.</summary>
    BatchStreamState Start { get; }

    /// <summary>Sequences of an epoch; null where only reading tells.</summary>
    long? SequencesPerEpoch { get; }

    /// <summary>The token that fills up short rows.</summary>
    int PadId { get; }

    /// <summary>Whether a place that fits the settings can be one of this source.</summary>
    bool Has(BatchStreamState place);

    /// <summary>The window at a place: the same for the same place, however it was come to.</summary>
    SequenceWindow Read(BatchStreamState at);
}

/// <summary>Some sequences: those of <c>bucket_window</c> batches, or those that are left in the epoch.</summary>
/// <param name="Count">How many.</param>
/// <param name="LengthOf">Tokens of each.</param>
/// <param name="Sequence">Each of them.</param>
/// <param name="After">The place of the next window.</param>
internal sealed record SequenceWindow(int Count, Func<long, int> LengthOf, Func<long, TokenSequence> Sequence, BatchStreamState After);
