namespace Peft.Data.Tables;

/// <summary>
/// One data file as rows of named columns. Nothing is inferred: the text of a column is the text in the file (<c>007</c> stays <c>007</c>); numbers
/// and truth values are such where the format says so (JSON, Parquet).
/// </summary>
public sealed class DataTable
{
    // As many objects of a JSON file are looked through for a column that a template names.
    private const int SampledRows = 20_000;
    private readonly DataFile _file;

    private DataTable(DataFile file, IReadOnlyList<TableColumn> columns)
    {
        _file = file;
        Columns = columns;
    }

    /// <summary>The file's columns; of JSON those of the first rows.</summary>
    public IReadOnlyList<TableColumn> Columns { get; }

    /// <summary>Opens a file and looks at its columns.</summary>
    /// <param name="file">The file.</param>
    /// <param name="wanted">Columns that are looked for; of JSON reading ends where all of them were seen.</param>
    /// <exception cref="DataFileException">It is not what its format says.</exception>
    public static DataTable Open(DataFile file, IReadOnlyCollection<string> wanted)
    {
        ArgumentNullException.ThrowIfNull(file);
        return new DataTable(file, file.Format switch
        {
            DataFormat.Parquet => ParquetRows.ColumnsOf(file),
            DataFormat.Csv or DataFormat.Tsv => HeaderOf(file),
            DataFormat.Text => [new TableColumn(TextRows.Column)],
            _ => MembersOf(file, wanted),
        });
    }

    /// <summary>Reads the rows.</summary>
    /// <param name="file">The file.</param>
    /// <param name="names">The columns that are read; those that a JSON row has not are null.</param>
    /// <param name="skip">Rows at the beginning that are passed over, without reading them where the format allows it.</param>
    /// <exception cref="DataFileException">It cannot be read.</exception>
    public static TableReader Read(DataFile file, IReadOnlyList<string> names, long skip = 0)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(names);
        if (file.Format == DataFormat.Parquet)
            return new ParquetRows(file, names, skip);
        TableReader reader = file.Format switch
        {
            DataFormat.Csv or DataFormat.Tsv => new SeparatedRows(file, names),
            DataFormat.Text => new TextRows(file, names.Count),
            DataFormat.Json => new JsonListRows(file, names),
            _ => new JsonLineRows(file, names),
        };
        while (reader.Number < skip && reader.Read())
        {
        }

        return reader;
    }

    /// <summary>The rows of a Parquet file, out of its footer.</summary>
    /// <exception cref="DataFileException">It is no Parquet file.</exception>
    public static long CountParquetRows(DataFile file) => ParquetRows.CountRows(file);

    private static IReadOnlyList<TableColumn> HeaderOf(DataFile file)
    {
        using var rows = new SeparatedRows(file, []);
        return [.. rows.Header.Select(name => new TableColumn(name))];
    }

    private static IReadOnlyList<TableColumn> MembersOf(DataFile file, IReadOnlyCollection<string> wanted)
    {
        var seen = new NameList();
        using TableReader rows = file.Format == DataFormat.Json ? new JsonListRows(file, [], seen) : new JsonLineRows(file, [], seen);
        string? broken = null;
        long? line = null;
        while (rows.Number < SampledRows && rows.Read() && (seen.Count == 0 || !wanted.All(seen.Contains)))
        {
            if (rows.Broken is not null && broken is null)
                (broken, line) = (rows.Broken, rows.Line);
        }

        return seen.Count == 0 && broken is not null
            ? throw new DataFileException(file, broken, line)
            : [.. seen.Names.Select(name => new TableColumn(name))];
    }
}
