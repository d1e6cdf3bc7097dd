namespace Peft.Data.Tables;

/// <summary>A column of a data file.</summary>
/// <param name="Name">Its name as written in the file.</param>
/// <param name="Type">DuckDB's type; for CSV and JSON what the first rows look like.</param>
public sealed record TableColumn(string Name, string Type)
{
    /// <summary>True for a single value; false for lists, structs and maps, which cannot stand in a template.</summary>
    public bool IsScalar => !Type.EndsWith(']') && !Type.StartsWith("STRUCT", StringComparison.Ordinal)
        && !Type.StartsWith("MAP", StringComparison.Ordinal) && !Type.StartsWith("UNION", StringComparison.Ordinal);

    /// <summary>True for bytes, which are read as UTF-8 text.</summary>
    internal bool IsBytes => Type == "BLOB";

    /// <summary>True for what CSV and JSON texts are compared as in a filter; dates stay text, as they stand.</summary>
    internal bool IsNumberOrBoolean => Type is "BOOLEAN" or "BIGINT" or "UBIGINT" or "HUGEINT" or "UHUGEINT" or "DOUBLE" or "INTEGER"
        || Type.StartsWith("DECIMAL", StringComparison.Ordinal);
}
