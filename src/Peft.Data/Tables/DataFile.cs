namespace Peft.Data.Tables;

/// <summary>One file of examples.</summary>
/// <param name="Path">Its full path.</param>
/// <param name="Name">Its name in messages and in <see cref="RowId"/>: as the recipe wrote it.</param>
/// <param name="Format">How it is written.</param>
public sealed record DataFile(string Path, string Name, DataFormat Format);
