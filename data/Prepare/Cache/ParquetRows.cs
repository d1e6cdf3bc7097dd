using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using Parquet;
using Parquet.Schema;
using Peft.Formats;

namespace Peft.Prepare.Cache;

/// <summary>Rows of text in a Parquet file, compressed with zstd.</summary>
internal static class ParquetRows
{
    // Readers hold one group at a time in memory: of the longest rows (2,000 characters) 40 MB.
    private const int RowsOfGroup = 10_000;

    /// <summary>Writes rows with a text for each column, none of them null.</summary>
    public static async Task Write(string path, IReadOnlyList<string> columns, IReadOnlyList<string[]> rows)
    {
        DataField<string>[] fields = [.. columns.Select(column => new DataField<string>(column, nullable: false))];
        // A better level takes eight times as long for files a third smaller, which nobody keeps or sends.
        var options = new ParquetOptions
        {
            CompressionMethod = CompressionMethod.Zstd,
            CompressionLevel = CompressionLevel.Fastest,
        };
        await using var stream = new FileStream(path, FileMode.CreateNew, FileAccess.Write);
        await using var writer = await ParquetWriter.CreateAsync(new ParquetSchema(fields), stream, options);
        foreach (var group in rows.Chunk(RowsOfGroup))
        {
            using var groupWriter = writer.CreateRowGroup();
            foreach (var (index, field) in fields.Index())
                await groupWriter.WriteAsync(field, [.. group.Select(row => row[index])]);
        }
    }

    /// <summary>The names of the columns and the rows of a file, in order.</summary>
    /// <exception cref="UserException">The file is missing or not what <see cref="Write"/> writes.</exception>
    public static async Task<(IReadOnlyList<string> Columns, IReadOnlyList<string[]> Rows)> Read(string path)
    {
        try
        {
            await using var reader = await ParquetReader.CreateAsync(path);
            var fields = reader.Schema.GetDataFields();
            var rows = new List<string[]>();
            foreach (var group in reader.RowGroups)
            {
                var values = new string[fields.Length][];
                foreach (var (index, field) in fields.Index())
                    await group.ReadAsync(field, values[index] = new string[group.RowCount]);
                for (var row = 0; row < group.RowCount; row++)
                    rows.Add([.. values.Select(column => column[row])]);
            }

            return ([.. fields.Select(field => field.Name)], rows);
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            // For a damaged file the library throws whatever it stumbles over: a format, an index, a codec's own type.
            throw UserException.At(path, "missing or damaged", "a data set as make data writes it", "run make data",
                error);
        }
    }

    /// <summary>
    /// SHA-256 over the names of the columns and then every value, row by row: each in UTF-8 with a zero byte behind
    /// it.
    /// </summary>
    public static string Hash(IReadOnlyList<string> columns, IEnumerable<string[]> rows)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var value in rows.Prepend([.. columns]).SelectMany(row => row))
            hash.AppendData(Encoding.UTF8.GetBytes(value + '\0'));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
