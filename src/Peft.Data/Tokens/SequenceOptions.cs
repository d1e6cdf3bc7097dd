using Peft.Chat;
using Peft.Formats.Configuration;

namespace Peft.Data.Tokens;

/// <summary>How sequences share rows (TRL's names).</summary>
public enum PackingStrategy
{
    /// <summary>Whole sequences side by side in rows of at most <c>max_length</c>, best fit, the longest first; none
    /// sees its neighbours.</summary>
    Bfd,

    /// <summary>Plain texts one after the other, cut into blocks of <c>max_length</c>; attention sees the whole
    /// block.</summary>
    Wrapped,
}

/// <summary>What to do with an answer that alone is longer than <c>max_length</c>.</summary>
public enum LongAnswerPolicy
{
    /// <summary>Stop and tell.</summary>
    Error,

    /// <summary>Leave the row out and count it.</summary>
    Skip,

    /// <summary>Cut the answer's end, and count the tokens; no end-of-text token is learned then.</summary>
    Cut,
}

/// <summary>How an example becomes tokens: keys of the <c>data:</c> section.</summary>
public record SequenceOptions
{
    /// <summary>Tokens of the longest sequence.</summary>
    [Key(Min = 2, Max = 1 << 20)]
    public int MaxLength { get; init; } = 512;

    /// <summary>Whether training sequences share rows of <see cref="MaxLength"/> tokens; plain texts longer than that
    /// are then continued in further sequences.</summary>
    [Key]
    public bool Packing { get; init; }

    /// <summary>How they share them.</summary>
    [Key]
    public PackingStrategy PackingStrategy { get; init; }

    /// <summary>Whether the loss counts the prompt's tokens too.</summary>
    [Key]
    public bool TrainOnPrompt { get; init; }

    /// <summary>What of conversations the loss counts.</summary>
    [Key]
    public TrainOn TrainOn { get; init; }

    /// <summary>Whether the end-of-text token is put, and learned, after each answer; of a conversation, behind its
    /// last
    /// one, where the chat template has put no end there.</summary>
    [Key]
    public bool AddEos { get; init; } = true;

    /// <summary>What to do with answers longer than <see cref="MaxLength"/>.</summary>
    [Key]
    public LongAnswerPolicy OnLongAnswer { get; init; }

    /// <summary>Tokens of a row of whole sequences side by side; 0 where each sequence has a row of its own.</summary>
    public int RowLength => Packing && PackingStrategy == PackingStrategy.Bfd ? MaxLength : 0;

    /// <summary>Whether plain texts are joined into blocks without borders.</summary>
    public bool IsWrapped => Packing && PackingStrategy == PackingStrategy.Wrapped;
}
