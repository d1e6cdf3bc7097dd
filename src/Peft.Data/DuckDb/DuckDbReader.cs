using System.Runtime.InteropServices;
using System.Text;

namespace Peft.Data.DuckDb;

/// <summary>
/// Rows of a query, a chunk of up to 2,048 at a time, read in place. Columns are what our own statements ask for:
/// VARCHAR, BLOB, BOOLEAN or BIGINT. Memory is one chunk, whatever the size of the table.
/// </summary>
public sealed unsafe class DuckDbReader : IDisposable
{
    // Lengths up to this stand inside the 16 bytes of a duckdb_string_t, longer ones behind a pointer.
    private const int LongestInline = 12;
    private const int StringBytes = 16;
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private readonly ResultHandle _result;
    private readonly nint[] _data;
    private readonly nint[] _validity;
    private ChunkHandle? _chunk;

    internal DuckDbReader(ResultHandle result)
    {
        _result = result;
        var columns = (int)NativeMethods.duckdb_column_count(result);
        _data = new nint[columns];
        _validity = new nint[columns];
    }

    /// <summary>How many columns there are.</summary>
    public int ColumnCount => _data.Length;

    /// <summary>How many rows the current chunk has.</summary>
    public int RowCount { get; private set; }

    /// <summary>Goes to the next chunk; false at the end.</summary>
    /// <exception cref="DuckDbException">The data cannot be read any further.</exception>
    public bool ReadChunk()
    {
        _chunk?.Dispose();
        RowCount = 0;
        _chunk = NativeMethods.duckdb_fetch_chunk(_result.Value);
        if (_chunk.IsInvalid)
        {
            var error = NativeMethods.duckdb_result_error(_result);
            return error == 0 ? false : throw new DuckDbException(Marshal.PtrToStringUTF8(error)!);
        }

        RowCount = (int)NativeMethods.duckdb_data_chunk_get_size(_chunk);
        for (var column = 0; column < _data.Length; column++)
        {
            var vector = NativeMethods.duckdb_data_chunk_get_vector(_chunk, (ulong)column);
            _data[column] = NativeMethods.duckdb_vector_get_data(vector);
            _validity[column] = NativeMethods.duckdb_vector_get_validity(vector);
        }

        return RowCount > 0;
    }

    /// <summary>True where the current chunk has no value.</summary>
    public bool IsNull(int column, int row)
    {
        Check(column, row);
        var bits = (ulong*)_validity[column];
        return bits != null && (bits[row >> 6] >> (row & 63) & 1) == 0;
    }

    /// <summary>A BOOLEAN; null counts as false.</summary>
    public bool Boolean(int column, int row) => !IsNull(column, row) && ((byte*)_data[column])[row] != 0;

    /// <summary>A BIGINT; null counts as 0.</summary>
    public long Integer(int column, int row) => IsNull(column, row) ? 0 : ((long*)_data[column])[row];

    /// <summary>A VARCHAR or BLOB as text; null where there is none or where the bytes are not UTF-8.</summary>
    /// <param name="column">The column.</param>
    /// <param name="row">The row in the chunk.</param>
    /// <param name="isValid">False when there are bytes and they are not UTF-8.</param>
    public string? Text(int column, int row, out bool isValid)
    {
        isValid = true;
        if (IsNull(column, row))
            return null;
        try
        {
            return Utf8.GetString(Bytes(column, row));
        }
        catch (DecoderFallbackException)
        {
            isValid = false;
            return null;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _chunk?.Dispose();
        _result.Dispose();
    }

    private ReadOnlySpan<byte> Bytes(int column, int row)
    {
        var text = (byte*)_data[column] + (long)row * StringBytes;
        var length = *(int*)text;
        var start = length <= LongestInline ? text + sizeof(int) : *(byte**)(text + sizeof(long));
        return new ReadOnlySpan<byte>(start, length);
    }

    // The data is raw memory: a wrong index must fail here and not read elsewhere.
    private void Check(int column, int row)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)RowCount, nameof(row));
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)column, (uint)_data.Length, nameof(column));
    }
}
