using System.Runtime.InteropServices;

namespace Peft.Data.DuckDb;

/// <summary>The part of DuckDB's C API (duckdb.h, 1.x) that is used: open, set, prepare, stream, read vectors.</summary>
/// <remarks>Functions that return a state give 0 for success. Names are the API's own, so that its manual applies.</remarks>
internal static partial class NativeMethods
{
    /// <summary>duckdb_statement_type of a query.</summary>
    public const int StatementTypeSelect = 1;

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial nint duckdb_library_version();

    [LibraryImport(DuckDbLibrary.Name, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int duckdb_open(string? path, out DatabaseHandle database);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial void duckdb_close(ref nint database);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial int duckdb_connect(DatabaseHandle database, out ConnectionHandle connection);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial void duckdb_disconnect(ref nint connection);

    [LibraryImport(DuckDbLibrary.Name, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int duckdb_query(ConnectionHandle connection, string sql, ResultHandle result);

    [LibraryImport(DuckDbLibrary.Name, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int duckdb_prepare(ConnectionHandle connection, string sql, out PreparedHandle prepared);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial nint duckdb_prepare_error(PreparedHandle prepared);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial int duckdb_prepared_statement_type(PreparedHandle prepared);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial void duckdb_destroy_prepare(ref nint prepared);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial int duckdb_pending_prepared_streaming(PreparedHandle prepared, out PendingHandle pending);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial nint duckdb_pending_error(PendingHandle pending);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial int duckdb_execute_pending(PendingHandle pending, ResultHandle result);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial void duckdb_destroy_pending(ref nint pending);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial nint duckdb_result_error(ResultHandle result);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial ulong duckdb_column_count(ResultHandle result);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial int duckdb_column_type(ResultHandle result, ulong column);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial void duckdb_destroy_result(nint result);

    /// <summary>The next chunk; an invalid handle at the end and after an error (then duckdb_result_error is set).</summary>
    [LibraryImport(DuckDbLibrary.Name)]
    public static partial ChunkHandle duckdb_fetch_chunk(NativeResult result);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial void duckdb_destroy_data_chunk(ref nint chunk);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial ulong duckdb_data_chunk_get_size(ChunkHandle chunk);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial nint duckdb_data_chunk_get_vector(ChunkHandle chunk, ulong column);

    [LibraryImport(DuckDbLibrary.Name)]
    public static partial nint duckdb_vector_get_data(nint vector);

    /// <summary>One bit a row, 1 = there is a value; null when all rows have one.</summary>
    [LibraryImport(DuckDbLibrary.Name)]
    public static partial nint duckdb_vector_get_validity(nint vector);
}
