namespace Peft.Data.Examples;

/// <summary>What reading a data set came across.</summary>
public sealed class ReadCounts
{
    /// <summary>Rows in the files, as far as they were read.</summary>
    public long Rows { get; internal set; }

    /// <summary>Rows that the filter left out.</summary>
    public long Filtered { get; internal set; }

    /// <summary>Rows skipped because a column had no value or was not UTF-8, or the line was no row.</summary>
    public long Bad { get; internal set; }
}
