namespace Peft.Data;

/// <summary>Where an example came from.</summary>
/// <param name="File">The data file, as the recipe names it.</param>
/// <param name="Row">Its row in that file, from 1; a header line is not counted.</param>
public sealed record RowId(string File, long Row)
{
    /// <summary>The line that it begins at, from 1, where the format has lines and the row was just read.</summary>
    public long? Line { get; init; }

    /// <summary>Whether it is the same row; its line follows from that.</summary>
    public bool Equals(RowId? other) => other is not null && Row == other.Row && File == other.File;

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(File, Row);

    /// <summary>For messages: <c>train.csv:13</c>, or <c>train.parquet, row 12</c>.</summary>
    public override string ToString() => Line is { } line ? $"{File}:{line}" : $"{File}, row {Row}";
}
