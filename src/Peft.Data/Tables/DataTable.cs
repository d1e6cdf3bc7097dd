using Peft.Data.DuckDb;
using static Peft.Data.DuckDb.DuckDbConnection;

namespace Peft.Data.Tables;

/// <summary>
/// One data file as a table of named columns. A template sees each value as text, just as it stands in the file
/// (<c>007</c> stays <c>007</c>); a filter and computed columns see numbers as numbers.
/// </summary>
public sealed class DataTable : IDisposable
{
    // A line of CSV and an object of JSON may be this long; DuckDB holds two buffers of it.
    private const int LongestRow = 16 << 20; // bytes
    private const string BrokenName = "\"\u0001broken\"";
    private const string RowNumber = "file_row_number"; // DuckDB's virtual column of Parquet files, from 0
    private readonly DataFile _file;
    private readonly DuckDbConnection _connection;
    private readonly string _source;
    private readonly IReadOnlyDictionary<string, string> _computed;

    private DataTable(
        DataFile file, DuckDbConnection connection, string source, IReadOnlyList<TableColumn> columns, IReadOnlyDictionary<string, string> computed)
    {
        _file = file;
        _connection = connection;
        _source = source;
        _computed = computed;
        Columns = columns;
    }

    /// <summary>The file's columns, without computed ones.</summary>
    public IReadOnlyList<TableColumn> Columns { get; }

    /// <summary>Whether <see cref="Read"/> can begin in the middle of the file without reading what comes before.</summary>
    public bool CanSkip => !IsText && Columns.All(column => !column.Name.Equals(RowNumber, StringComparison.OrdinalIgnoreCase));

    private bool IsText => _file.Format != DataFormat.Parquet;

    private bool IsJson => _file.Format is DataFormat.Json or DataFormat.JsonLines;

    /// <summary>Opens a file and looks at its columns.</summary>
    /// <param name="file">The file.</param>
    /// <param name="computed">Computed columns: name and SQL expression over the file's columns.</param>
    /// <param name="skipBadRows">Leave out lines that are no rows, where the format allows it, rather than fail.</param>
    /// <exception cref="DataFileException">It is not what its format says.</exception>
    public static DataTable Open(DataFile file, IReadOnlyDictionary<string, string>? computed = null, bool skipBadRows = false)
    {
        var connection = DuckDbConnection.Open(file.Path);
        try
        {
            var columns = FindColumns(connection, file);
            var source = Source(connection, file, columns, skipBadRows);
            return new DataTable(file, connection, source, columns, computed ?? new Dictionary<string, string>());
        }
        catch (DuckDbException error)
        {
            connection.Dispose();
            throw Unreadable(file, error);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Reads all rows: the named columns as text, then two BOOLEANs: whether the line is no row at all (JSON Lines), and
    /// whether the filter keeps the row. Rows that it drops come too, so that the caller numbers rows as the file has them.
    /// </summary>
    /// <param name="names">The columns.</param>
    /// <param name="filter">A SQL condition; null for all rows.</param>
    /// <param name="skip">Rows at the beginning that are left out; above 0 only where <see cref="CanSkip"/>.</param>
    public DuckDbReader Read(IReadOnlyList<string> names, string? filter, long skip = 0) =>
        _connection.Query($"SELECT {string.Join(", ", names.Select(Wanted).Append(BrokenName).Append(Keep(filter)))} FROM {Table(names, skip)}");

    /// <summary>The rows of a Parquet file, out of its footer.</summary>
    public long CountParquetRows()
    {
        using var reader = _connection.Query($"SELECT count(*)::BIGINT FROM {_source}");
        return reader.ReadChunk() ? reader.Integer(0, 0) : 0;
    }

    /// <summary>What DuckDB says against a computed column or a filter, or null when it is well formed.</summary>
    public string? Problem(string? filter)
    {
        try
        {
            using var reader = _connection.Query($"SELECT column_type FROM (DESCRIBE SELECT {Keep(filter)} FROM {Table([])})");
            return null;
        }
        catch (DuckDbException error)
        {
            return error.Summary;
        }
    }

    /// <summary>The type of a file's or computed column; null when there is none of that name.</summary>
    public TableColumn? Find(string name)
    {
        if (Columns.FirstOrDefault(column => column.Name == name) is { } found && !_computed.ContainsKey(name))
            return found;
        if (!_computed.ContainsKey(name))
            return null;
        var described = Describe(_connection, $"SELECT {SqlName(name)} FROM {Table([])}");
        return described[0] with { Name = name };
    }

    /// <summary>After a scan that skips bad rows: how many lines of a CSV file were left out.</summary>
    public long CountRejected()
    {
        if (_file.Format is not (DataFormat.Csv or DataFormat.Tsv))
            return 0;
        using var reader = _connection.Query("SELECT count(DISTINCT line)::BIGINT FROM reject_errors");
        return reader.ReadChunk() ? reader.Integer(0, 0) : 0;
    }

    /// <summary>An error of DuckDB as one that names the file.</summary>
    public DataFileException Unreadable(DuckDbException error) => Unreadable(_file, error);

    /// <inheritdoc/>
    public void Dispose() => _connection.Dispose();

    /// <summary>What is wrong with a file, in DuckDB's words where they tell.</summary>
    internal static string ReasonOf(DataFile file, DuckDbException error) =>
        file.Format is DataFormat.Json or DataFormat.JsonLines && Utf8Lines.FirstWrong(file.Path) is { } line
            ? $"line {line} is not UTF-8"
            : error.Reason;

    private static DataFileException Unreadable(DataFile file, DuckDbException error)
    {
        var format = file.Format switch
        {
            DataFormat.JsonLines => "one JSON object a line, in UTF-8",
            DataFormat.Json => "a JSON list of objects, in UTF-8",
            DataFormat.Csv => "comma-separated values in UTF-8 with a header line",
            DataFormat.Tsv => "tab-separated values in UTF-8 with a header line",
            _ => "a Parquet file, text columns in UTF-8",
        };
        var advice = file.Format == DataFormat.Parquet
            ? "write the file again"
            : "correct the file, or say `on_bad_row: skip`";
        return new DataFileException($"{file.Name} - {ReasonOf(file, error)} - {format} - {advice}", error);
    }

    private static string Keep(string? filter) => filter is null ? "true" : $"CAST((\n{filter}\n) AS BOOLEAN)";

    // The text of a column: computed ones and Parquet's by a cast, those of CSV and JSON as they stand in the file.
    private string Wanted(string name, int at)
    {
        if (IsText && !_computed.ContainsKey(name))
            return SqlName(TextName(at));
        return Find(name)!.IsBytes ? SqlName(name) : $"CAST({SqlName(name)} AS VARCHAR)";
    }

    private static string TextName(int at) => $"\u0001text {at}";

    private string Table(IReadOnlyList<string> names, long skip = 0)
    {
        IEnumerable<string> columns = IsText ? TypedColumns().Concat(TextColumns(names)) : ["*"];
        var after = skip > 0 ? $" WHERE {RowNumber} >= {skip}" : "";
        var table = $"(SELECT {string.Join(", ", columns)}, {Broken()} AS {BrokenName} FROM {_source}{after})";
        foreach (var (name, expression) in _computed)
            table = $"(SELECT * {Replaced(name)}, (\n{expression}\n) AS {SqlName(name)} FROM {table})";
        return table;
    }

    private string Broken() => _file.Format == DataFormat.JsonLines
        ? $"COALESCE({string.Join(", ", Columns.Select(column => SqlName(column.Name)))}) IS NULL"
        : "false";

    private string Replaced(string name) =>
        Columns.Any(column => column.Name == name) ? $"EXCLUDE ({SqlName(name)})" : "";

    private IEnumerable<string> TypedColumns() => Columns.Select(column =>
    {
        var name = SqlName(column.Name);
        if (IsJson && !column.IsScalar)
            return $"CAST({name} AS {column.Type}) AS {name}";
        var text = TextOf(column.Name);
        return column.IsNumberOrBoolean ? $"CAST({text} AS {column.Type}) AS {name}" : $"{text} AS {name}";
    });

    private IEnumerable<string> TextColumns(IReadOnlyList<string> names) =>
        names.Select((name, at) => (name, at)).Where(wanted => !_computed.ContainsKey(wanted.name))
            .Select(wanted => $"{TextOf(wanted.name)} AS {SqlName(TextName(wanted.at))}");

    private string TextOf(string name) => IsJson ? $"({SqlName(name)} ->> '$')" : SqlName(name);

    private static List<TableColumn> FindColumns(DuckDbConnection connection, DataFile file) => Describe(
        connection,
        file.Format switch
        {
            DataFormat.Parquet => $"SELECT * FROM read_parquet({SqlText(file.Path)})",
            DataFormat.Json => $"SELECT * FROM read_json({SqlText(file.Path)}, records = true, maximum_object_size = {LongestRow})",
            DataFormat.JsonLines => "SELECT * FROM read_json("
                + $"{SqlText(file.Path)}, format = 'newline_delimited', records = true, ignore_errors = true, maximum_object_size = {LongestRow})",
            _ => $"SELECT * FROM read_csv({CsvOptions(file)}, ignore_errors = true)",
        });

    private static List<TableColumn> Describe(DuckDbConnection connection, string query)
    {
        using var reader = connection.Query($"SELECT column_name, column_type FROM (DESCRIBE {query})");
        var columns = new List<TableColumn>();
        while (reader.ReadChunk())
        {
            for (var row = 0; row < reader.RowCount; row++)
                columns.Add(new TableColumn(reader.Text(0, row, out _)!, reader.Text(1, row, out _)!));
        }

        return columns;
    }

    // All columns of CSV are read as text and all of JSON as JSON, so that a row far below cannot break a guessed type.
    private static string Source(DuckDbConnection connection, DataFile file, IReadOnlyList<TableColumn> columns, bool skipBadRows)
    {
        if (file.Format == DataFormat.Parquet)
            return $"read_parquet({SqlText(file.Path)})";
        var type = file.Format is DataFormat.Csv or DataFormat.Tsv ? "VARCHAR" : "JSON";
        var typed = string.Join(", ", columns.Select(column => $"{SqlName(column.Name)}: '{type}'"));
        return file.Format switch
        {
            DataFormat.Json => $"read_json({SqlText(file.Path)}, records = true, columns = {{{typed}}}, maximum_object_size = {LongestRow})",
            // A line that is no object becomes a row without values: reported, or skipped, by its right number.
            DataFormat.JsonLines => $"read_json({SqlText(file.Path)}, format = 'newline_delimited', records = true, "
                + $"ignore_errors = true, columns = {{{typed}}}, maximum_object_size = {LongestRow})",
            _ => $"read_csv({CsvOptions(file)}, auto_detect = false, new_line = '{NewLine(connection, file)}', "
                + $"columns = {{{typed}}}, store_rejects = {(skipBadRows ? "true" : "false")})",
        };
    }

    private static string NewLine(DuckDbConnection connection, DataFile file)
    {
        using var reader = connection.Query($"SELECT \"NewLineDelimiter\" FROM sniff_csv({CsvOptions(file)}, ignore_errors = true)");
        return reader.ReadChunk() && reader.Text(0, 0, out _) is @"\r\n" or @"\r" ? reader.Text(0, 0, out _)! : @"\n";
    }

    private static string CsvOptions(DataFile file) =>
        $"{SqlText(file.Path)}, header = true, delim = '{(file.Format == DataFormat.Tsv ? "\\t" : ",")}', "
        + $"quote = '\"', escape = '\"', max_line_size = {LongestRow}, buffer_size = {2 * LongestRow}";
}
