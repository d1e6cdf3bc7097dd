namespace Peft.Data;

/// <summary>Where an example came from.</summary>
/// <param name="File">The data file, as the recipe names it.</param>
/// <param name="Row">Its row in that file, from 1; a header line is not counted.</param>
public sealed record RowId(string File, long Row)
{
    /// <summary>For messages: <c>train.csv row 12</c>.</summary>
    public override string ToString() => $"{File} row {Row}";
}
