using System.Runtime.InteropServices;

namespace Peft.Data.DuckDb;

/// <summary>
/// A DuckDB in memory that can read the files it was opened for and nothing else: no other file, no network, no
/// extension, no writing. A filter out of somebody else's recipe therefore cannot do harm.
/// </summary>
public sealed class DuckDbConnection : IDisposable
{
    // Reading needs one row group or one block of text; a thread more would only wait for the tokenizer.
    private const int MemoryMegabytes = 1024;
    private readonly DatabaseHandle _database;
    private readonly ConnectionHandle _connection;

    private DuckDbConnection(DatabaseHandle database, ConnectionHandle connection)
    {
        _database = database;
        _connection = connection;
    }

    /// <summary>Opens an empty database that can read the files given.</summary>
    /// <exception cref="DuckDbLibraryException">libduckdb.so is missing.</exception>
    public static DuckDbConnection Open(params IEnumerable<string> readableFiles)
    {
        var connection = OpenUnlocked();
        try
        {
            connection.Execute($"SET allowed_paths = [{string.Join(", ", readableFiles.Select(SqlText))}]");
            connection.Execute("SET autoinstall_known_extensions = false");
            connection.Execute("SET autoload_known_extensions = false");
            connection.Execute("SET temp_directory = ''");
            connection.Execute("SET threads = 1"); // rows come in file order, in the calling thread
            connection.Execute($"SET memory_limit = '{MemoryMegabytes}MB'");
            connection.Execute("SET enable_external_access = false");
            connection.Execute("SET lock_configuration = true");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>A text as SQL literal.</summary>
    public static string SqlText(string text) => $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";

    /// <summary>A name as SQL identifier.</summary>
    public static string SqlName(string name) => $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";

    /// <summary>Starts one query; rows are computed as they are read.</summary>
    /// <exception cref="DuckDbException">DuckDB refuses it, or it is several statements or no query.</exception>
    public DuckDbReader Query(string sql)
    {
        var failed = NativeMethods.duckdb_prepare(_connection, sql, out var prepared) != 0;
        using (prepared)
        {
            if (failed)
                throw new DuckDbException(Text(NativeMethods.duckdb_prepare_error(prepared)));
            if (NativeMethods.duckdb_prepared_statement_type(prepared) != NativeMethods.StatementTypeSelect)
                throw new DuckDbException("only a query is allowed here");
            failed = NativeMethods.duckdb_pending_prepared_streaming(prepared, out var pending) != 0;
            using (pending)
            {
                if (failed)
                    throw new DuckDbException(Text(NativeMethods.duckdb_pending_error(pending)));
                var result = new ResultHandle();
                if (NativeMethods.duckdb_execute_pending(pending, result) == 0)
                    return new DuckDbReader(result);
                using (result)
                    throw new DuckDbException(Text(NativeMethods.duckdb_result_error(result)));
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _connection.Dispose();
        _database.Dispose();
    }

    /// <summary>A database without any restriction: the first step of <see cref="Open"/>, and how tests write files.</summary>
    internal static DuckDbConnection OpenUnlocked()
    {
        DuckDbLibrary.EnsureLoaded();
        if (NativeMethods.duckdb_open(null, out var database) != 0)
            throw new DuckDbException("DuckDB cannot open a database in memory");
        if (NativeMethods.duckdb_connect(database, out var connection) == 0)
            return new DuckDbConnection(database, connection);
        database.Dispose();
        throw new DuckDbException("DuckDB cannot connect to its database");
    }

    /// <summary>Runs a statement that gives no rows.</summary>
    internal void Execute(string sql)
    {
        using var result = new ResultHandle();
        if (NativeMethods.duckdb_query(_connection, sql, result) != 0)
            throw new DuckDbException(Text(NativeMethods.duckdb_result_error(result)));
    }

    internal static string Text(nint pointer) => Marshal.PtrToStringUTF8(pointer) ?? "DuckDB failed without a reason";
}
