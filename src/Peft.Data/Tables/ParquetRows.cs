using Parquet;
using Parquet.Schema;
using Peft.Formats;
using ParquetDataField = Parquet.Schema.DataField;

namespace Peft.Data.Tables;

/// <summary>Parquet: only the wanted columns are read, one row group after the other, and none that is passed
/// over.</summary>
/// <remarks>
/// The wanted columns of a row group are held whole. The library decodes a column chunk at once and has no public
/// reader of pages; the pages of two columns do not end at the same rows, and a dictionary serves the whole chunk. A
/// file whose row groups are too large for the memory has to be written again with smaller ones.
/// </remarks>
internal sealed class ParquetRows : TableReader
{
    private readonly ParquetFile _file;
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
        _file = ParquetFile.Open(file, isRaw: true);
        try
        {
            _fields = [.. names.Select(name => _file.Reader.Schema.Fields.First(field => field.Name == name))];
            Skip(skip);
        }
        catch (Exception error)
        {
            Dispose();
            throw ParquetFile.Translated(file, error);
        }
    }

    public override bool Read()
    {
        try
        {
            while (_left == 0)
            {
                if (_nextGroup == _file.Reader.RowGroupCount)
                    return false;
                OpenGroup();
            }

            _left--;
            Number++;
            for (var at = 0; at < _columns.Length; at++)
                Values[at] = _columns[at].Take();
            return true;
        }
        catch (Exception error)
        {
            throw ParquetFile.Translated(_file.File, error);
        }
    }

    public override void Dispose()
    {
        Release();
        _file.Dispose();
    }

    private void Skip(long rows)
    {
        var groups = _file.Reader.RowGroups;
        while (rows > 0 && _nextGroup < groups.Count && groups[_nextGroup].RowCount is var group && rows >= group)
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
        using var group = _file.Reader.OpenRowGroupReader(_nextGroup++);
        var leaves = new List<ParquetLeaf>();
        _leaves = leaves;
        _columns = [.. _fields.Select(field => ParquetValue.Of(field, leaf =>
        {
            CheckCodec(group, leaf);
            leaves.Add(ParquetLeaf.Of(leaf, _file.Within(async () => await group.ReadRawColumnDataBaseAsync(leaf))));
            return leaves[^1];
        }))];
        _left = group.RowCount;
    }

    private void CheckCodec(ParquetRowGroupReader group, ParquetDataField field)
    {
        var column = $"column {Quote.Of(field.Name)}";
        var codec = group.GetMetadata(field)?.MetaData?.Codec
            ?? throw new DataFileException(_file.File, $"{column} is encrypted or has no data");
        if (!Enum.IsDefined(codec) || codec == Parquet.Meta.CompressionCodec.LZO)
        {
            throw new DataFileException(new Fault(
                _file.File.Name, $"{column} is compressed with {codec}", "snappy, gzip, zstd, brotli or lz4",
                "export it again with the program that wrote it"), null);
        }
    }

    private void Release()
    {
        foreach (var leaf in _leaves)
            leaf.Release();
        (_leaves, _columns) = ([], []);
    }
}
