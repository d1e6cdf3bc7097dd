using Peft.Data.Tokens;
using Peft.Formats.Configuration;

namespace Peft.Data.Batches;

/// <summary>How sequences become batches: keys of the <c>data:</c> section.</summary>
public record BatchOptions : SequenceOptions
{
    /// <summary>Whether training sequences come in random order; if not, as the files have them.</summary>
    [Key]
    public bool Shuffle { get; init; } = true;

    /// <summary>Seed of the order; null for the seed of the run.</summary>
    [Key]
    public long? Seed { get; init; }

    /// <summary>How many batches are sorted by length together; 1 for none.</summary>
    [Key(Min = 1, Max = 4096)]
    public int BucketWindow { get; init; } = 32;

    /// <summary>Whether training rows are read and tokenised while training instead of before the first step.</summary>
    [Key]
    public bool Streaming { get; init; }

    /// <summary>Rows of each data set that are read, and shuffled, together when <see cref="Streaming"/>.</summary>
    [Key(Min = 1, Max = 1 << 24)]
    public int ShuffleBufferSize { get; init; } = 10_000;

    /// <summary>Memory for tokens, in MiB; what does not fit goes to a temporary file.</summary>
    [Key(Min = 1, Max = 1 << 20)]
    public int MemoryBudgetMb { get; init; } = 256;

    /// <summary>The folder of that file; null for the system's.</summary>
    [Key]
    public string? SpillDirectory { get; init; }
}
