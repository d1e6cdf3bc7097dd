namespace Peft.Data.Tables;

/// <summary>
/// One data file as rows of named columns. Nothing is inferred: the text of a column is the text in the file
/// (<c>007</c> stays
/// <c>007</c>); values are numbers, or true or false, where the format says so (JSON, Parquet).
/// </summary>
public sealed class DataTable
{
    // As many objects of a JSON file are looked through for a column that a template names.
    private const int SampledRows = 20_000;

    private DataTable(DataFile file, IReadOnlyList<TableColumn> columns, long? rowCount = null) =>
        (File, Columns, RowCount) = (file, columns, rowCount);

    /// <summary>The file.</summary>
    public DataFile File { get; }

    /// <summary>The file's columns; of JSON those of the first rows.</summary>
    public IReadOnlyList<TableColumn> Columns { get; }

    /// <summary>How many rows it has, out of a Parquet file's footer; null where only reading tells.</summary>
    public long? RowCount { get; }

    /// <summary>Opens a file and looks at its columns.</summary>
    /// <param name="file">The file.</param>
    /// <param name="wanted">Columns that are looked for; of JSON reading ends where all of them were seen.</param>
    /// <exception cref="DataFileException">It is not what its format says.</exception>
    public static DataTable Open(DataFile file, IReadOnlyCollection<string> wanted)
    {
        switch (file.Format)
        {
            case DataFormat.Parquet:
                using (var parquet = ParquetFile.Open(file, isRaw: true))
                    return new DataTable(
                        file, [.. parquet.Reader.Schema.Fields.Select(ParquetColumns.Of)], parquet.RowCount);
            case DataFormat.Csv or DataFormat.Tsv:
                return new DataTable(file, HeaderOf(file));
            case DataFormat.Text:
                return new DataTable(file, [new TableColumn(TextRows.Column)]);
            default:
                return new DataTable(file, MembersOf(file, wanted));
        }
    }

    /// <summary>Reads the rows.</summary>
    /// <param name="names">The columns that are read; those that a JSON row has not are null.</param>
    /// <param name="skip">Rows at the beginning that are passed over, without reading them where the format allows
    /// it.</param>
    /// <exception cref="DataFileException">It cannot be read.</exception>
    public TableReader Read(IReadOnlyList<string> names, long skip = 0)
    {
        if (File.Format == DataFormat.Parquet)
            return new ParquetRows(File, names, skip);
        TableReader reader = File.Format switch
        {
            DataFormat.Csv or DataFormat.Tsv => new SeparatedRows(File, names),
            DataFormat.Text => new TextRows(File, names.Count),
            DataFormat.Json => new JsonListRows(File, names),
            _ => new JsonLineRows(File, names),
        };
        while (reader.Number < skip && reader.Read())
        {
        }

        return reader;
    }

    private static IReadOnlyList<TableColumn> HeaderOf(DataFile file)
    {
        using var rows = new SeparatedRows(file, []);
        return [.. rows.Header.Select(name => new TableColumn(name))];
    }

    private static IReadOnlyList<TableColumn> MembersOf(DataFile file, IReadOnlyCollection<string> wanted)
    {
        var seen = new NameList();
        using TableReader rows = file.Format == DataFormat.Json
            ? new JsonListRows(file, [], seen)
            : new JsonLineRows(file, [], seen);
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

/// <summary>Reads the rows of one file, one after the other, in the memory of one row (Parquet: of the columns that are
/// read of one row group).</summary>
public abstract class TableReader : IDisposable
{
    /// <summary>What stands in <see cref="Values"/> for bytes that are not UTF-8.</summary>
    public static readonly object NotUtf8 = new();

    /// <summary>Makes a reader.</summary>
    /// <param name="columns">How many columns are read.</param>
    protected TableReader(int columns) => Values = new object?[columns];

    /// <summary>The row's number in the file, from 1.</summary>
    public long Number { get; protected set; }

    /// <summary>The line that the row begins at, from 1; null for formats without lines.</summary>
    public virtual long? Line => null;

    /// <summary>Why what was read is no row; null when it is one. Then <see cref="Values"/> mean nothing.</summary>
    public string? Broken { get; protected set; }

    /// <summary>
    /// The row's values, by wanted column: null where there is none; string, bool, integers, <see
    /// cref="Peft.Formats.Templates.WrittenNumber"/>, lists and objects; <see cref="NotUtf8"/>. Overwritten by the next
    /// row.
    /// </summary>
    public object?[] Values { get; }

    /// <summary>Goes to the next row; false at the end.</summary>
    /// <exception cref="DataFileException">The file cannot be read on.</exception>
    public abstract bool Read();

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>A column of a data file.</summary>
/// <param name="Name">Its name as written in the file.</param>
/// <param name="Refused">Its type, where that has no text form; null otherwise.</param>
public sealed record TableColumn(string Name, string? Refused = null);
