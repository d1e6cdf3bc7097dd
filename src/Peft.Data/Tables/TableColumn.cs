namespace Peft.Data.Tables;

/// <summary>A column of a data file.</summary>
/// <param name="Name">Its name as written in the file.</param>
/// <param name="Refused">Its type, where that has no text form; null otherwise.</param>
public sealed record TableColumn(string Name, string? Refused = null);
