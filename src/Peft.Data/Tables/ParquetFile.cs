using Peft.Data.DuckDb;
using Peft.Formats.Files;
using static Peft.Data.DuckDb.DuckDbConnection;

namespace Peft.Data.Tables;

/// <summary>Writes Parquet files.</summary>
public static class ParquetFile
{
    private const int LongestRow = 64 << 20; // bytes

    /// <summary>Writes what a file of JSON Lines holds as Parquet, atomically.</summary>
    /// <param name="path">The Parquet file.</param>
    /// <param name="jsonLines">The JSON Lines.</param>
    /// <param name="columns">Names and DuckDB types of the columns.</param>
    /// <exception cref="FileOperationException">The disk is full, the place may not be written to, ...</exception>
    public static void Write(string path, string jsonLines, IReadOnlyList<(string Name, string Type)> columns)
    {
        var typed = string.Join(", ", columns.Select(column => $"{SqlName(column.Name)}: {SqlText(column.Type)}"));
        // DuckDB writes by name; what it wrote is then read through the one way that files come into place.
        var made = jsonLines + ".parquet";
        try
        {
            using (var connection = OpenUnlocked())
            {
                connection.Execute(
                    $"COPY (SELECT * FROM read_json({SqlText(jsonLines)}, format = 'newline_delimited', maximum_object_size = {LongestRow}, "
                    + $"columns = {{{typed}}})) TO {SqlText(made)} (FORMAT parquet, COMPRESSION snappy)");
            }

            AtomicFile.Write(path, target =>
            {
                using var source = File.OpenRead(made);
                source.CopyTo(target);
            });
        }
        catch (DuckDbException error)
        {
            throw FileOperationException.Writing(path, new IOException(error.Reason, error));
        }
        finally
        {
            File.Delete(made);
        }
    }
}
