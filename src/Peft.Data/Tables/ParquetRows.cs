using Parquet;
using Parquet.Schema;
using Peft.Formats;
using ParquetDataField = Parquet.Schema.DataField;

namespace Peft.Data.Tables;

/// <summary>Parquet: only the wanted columns are read, one row group after the other, and none that is passed over.</summary>
internal sealed class ParquetRows : TableReader
{
    private readonly DataFile _file;
    private readonly ParquetReader _reader;
    private readonly Field[] _fields;
    private ParquetValue[] _columns = [];
    private List<ParquetLeaf> _leaves = [];
    private int _nextGroup;
    private long _left; // rows of the group

    /// <summary>Opens a file.</summary>
    /// <param name="file">The file.</param>
    /// <param name="names">The wanted columns, all of which it has.</param>
    /// <param name="skip">Rows that are passed over.</param>
    public ParquetRows(DataFile file, IReadOnlyList<string> names, long skip)
        : base(names.Count)
    {
        _file = file;
        _reader = Open(file);
        try
        {
            _fields = [.. names.Select(name => _reader.Schema.Fields.First(field => field.Name == name))];
            Skip(skip);
        }
        catch (Exception error)
        {
            Dispose();
            throw error as DataFileException ?? Damaged(file, error);
        }
    }

    /// <summary>The file's columns.</summary>
    /// <exception cref="DataFileException">It is no Parquet file.</exception>
    public static IReadOnlyList<TableColumn> ColumnsOf(DataFile file)
    {
        var reader = Open(file);
        try
        {
            return [.. reader.Schema.Fields.Select(ParquetColumns.Of)];
        }
        finally
        {
            Wait(reader.DisposeAsync());
        }
    }

    /// <summary>The file's rows, out of its footer.</summary>
    /// <exception cref="DataFileException">It is no Parquet file.</exception>
    public static long CountRows(DataFile file)
    {
        var reader = Open(file);
        try
        {
            return Enumerable.Range(0, reader.RowGroupCount).Sum(group => RowsOf(reader, group));
        }
        finally
        {
            Wait(reader.DisposeAsync());
        }
    }

    public override bool Read()
    {
        try
        {
            while (_left == 0)
            {
                if (_nextGroup == _reader.RowGroupCount)
                    return false;
                OpenGroup();
            }

            _left--;
            Number++;
            for (var at = 0; at < _columns.Length; at++)
                Values[at] = _columns[at].Take();
            return true;
        }
        catch (Exception error) when (error is not DataFileException)
        {
            throw Damaged(_file, error);
        }
    }

    public override void Dispose()
    {
        Release();
        Wait(_reader.DisposeAsync());
    }

    private void Skip(long rows)
    {
        while (rows > 0 && _nextGroup < _reader.RowGroupCount && RowsOf(_reader, _nextGroup) is var group && rows >= group)
        {
            (rows, Number) = (rows - group, Number + group);
            _nextGroup++;
        }

        while (rows-- > 0 && Read())
        {
        }
    }

    private void OpenGroup()
    {
        Release();
        using var group = _reader.OpenRowGroupReader(_nextGroup++);
        var leaves = new List<ParquetLeaf>();
        _leaves = leaves;
        _columns = [.. _fields.Select(field => ParquetValue.Of(field, leaf =>
        {
            CheckCodec(group, leaf);
            var read = ParquetColumns.AsBytes(leaf);
            leaves.Add(ParquetLeaf.Of(leaf, ParquetClock.Within(_file.Path, async () => await group.ReadRawColumnDataBaseAsync(read))));
            return leaves[^1];
        }))];
        _left = group.RowCount;
    }

    private void CheckCodec(ParquetRowGroupReader group, ParquetDataField field)
    {
        var codec = group.GetMetadata(field)?.MetaData?.Codec ?? throw new DataFileException(_file, $"column {Quote.Of(field.Name)} is encrypted or has no data");
        if (!Enum.IsDefined(codec) || codec == Parquet.Meta.CompressionCodec.LZO)
            throw new DataFileException(_file, $"column {Quote.Of(field.Name)} is compressed by {codec}, which is not known here (snappy, gzip, zstd, brotli and lz4 are)");
    }

    private void Release()
    {
        foreach (var leaf in _leaves)
            leaf.Release();
        (_leaves, _columns) = ([], []);
    }

    private static ParquetReader Open(DataFile file)
    {
        CheckEnds(file);
        try
        {
            var options = new ParquetOptions { UseDateOnlyTypeForDates = true, UseBigDecimal = true, TreatByteArrayAsString = false };
            var stream = new FileStream(file.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            try
            {
                return ParquetClock.Within(file.Path, async () =>
                {
                    var reader = await ParquetReader.CreateAsync(stream, options, leaveStreamOpen: false);
                    _ = (reader.Schema.Fields.Count, reader.RowGroups.Sum(group => group.RowCount)); // read when they are first asked for
                    return reader;
                });
            }
            catch
            {
                stream.Dispose();
                throw;
            }
        }
        catch (Exception error) when (error is not DataFileException)
        {
            throw Damaged(file, error);
        }
    }

    private static void CheckEnds(DataFile file)
    {
        const int Magic = 4;
        Span<byte> ends = stackalloc byte[2 * Magic];
        try
        {
            using var stream = File.OpenRead(file.Path);
            if (stream.Length >= 3 * Magic)
            {
                stream.ReadExactly(ends[..Magic]);
                stream.Seek(-Magic, SeekOrigin.End);
                stream.ReadExactly(ends[Magic..]);
            }
        }
        catch (Exception error) when (DataStreams.IsReading(error))
        {
            throw DataStreams.Unreadable(file, error);
        }

        var begin = ends[..Magic];
        var end = ends[Magic..];
        if (begin.SequenceEqual("PARE"u8) || end.SequenceEqual("PARE"u8))
            throw new DataFileException(file, "is encrypted");
        if (!begin.SequenceEqual("PAR1"u8))
            throw new DataFileException(file, "is no Parquet file");
        if (!end.SequenceEqual("PAR1"u8))
            throw new DataFileException(file, "is cut short: its end is missing");
        if (!IsWhole(file))
            throw new DataFileException(file, "is damaged: its footer cannot be read");
    }

    private static bool IsWhole(DataFile file)
    {
        try
        {
            return ParquetFooter.IsWhole(file.Path);
        }
        catch (Exception error) when (DataStreams.IsReading(error))
        {
            throw DataStreams.Unreadable(file, error);
        }
    }

    private static long RowsOf(ParquetReader reader, int group) => reader.RowGroups[group].RowCount;

    // The library meets damaged bytes with exceptions of many kinds.
    private static DataFileException Damaged(DataFile file, Exception error) =>
        DataStreams.IsReading(error) && error is not (InvalidDataException or EndOfStreamException)
            ? DataStreams.Unreadable(file, error)
            : new DataFileException(file, $"is damaged: {Quote.Of(error.Message)}", inner: error);

    private static void Wait(ValueTask task) => task.AsTask().GetAwaiter().GetResult();
}
