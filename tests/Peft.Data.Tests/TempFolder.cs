using Peft.Data.DuckDb;

namespace Peft.Data.Tests;

/// <summary>A folder for one test, and data files in it: DuckDB writes the Parquet ones.</summary>
internal sealed class TempFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("peft-data-").FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public string Write(string name, string text)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(this[name])!);
        File.WriteAllText(this[name], text);
        return name;
    }

    public string WriteBytes(string name, params byte[][] parts)
    {
        File.WriteAllBytes(this[name], [.. parts.SelectMany(part => part)]);
        return name;
    }

    /// <summary>Writes the rows of a SELECT; the format goes by the name.</summary>
    public string Write(string name, FormattableString select)
    {
        using var connection = DuckDbConnection.OpenUnlocked();
        connection.Execute($"COPY ({select}) TO {DuckDbConnection.SqlText(this[name])}");
        return name;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
