using Parquet;
using Parquet.Schema;

namespace Peft.Data.Tests;

/// <summary>A folder for one test, and data files in it.</summary>
internal sealed class TempFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("peft-data-").FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public string Write(string name, string text)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(this[name])!);
        File.WriteAllText(this[name], text);
        return name;
    }

    public string WriteBytes(string name, params byte[][] parts)
    {
        File.WriteAllBytes(this[name], [.. parts.SelectMany(part => part)]);
        return name;
    }

    /// <summary>Writes a Parquet file of the columns: arrays of texts, bytes, or numbers and truth values.</summary>
    /// <param name="name">The file.</param>
    /// <param name="columns">Names and values.</param>
    public string WriteParquet(string name, params (string Name, Array Values)[] columns) =>
        WriteParquet(name, 10_000, columns);

    /// <summary>The same in row groups of a size.</summary>
    public string WriteParquet(string name, int groupRows, params (string Name, Array Values)[] columns)
    {
        WriteAsync(name, groupRows, CompressionMethod.Snappy, columns).GetAwaiter().GetResult();
        return name;
    }

    /// <summary>The same with the compression of a name.</summary>
    public string WriteParquet(string name, CompressionMethod compression, params (string Name, Array Values)[] columns)
    {
        WriteAsync(name, 10_000, compression, columns).GetAwaiter().GetResult();
        return name;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);

    private async Task WriteAsync(
        string name, int groupRows, CompressionMethod compression, (string Name, Array Values)[] columns)
    {
        var fields = columns.Select(column => new Parquet.Schema.DataField(
            column.Name, column.Values.GetType().GetElementType()!, column.Values is string?[] or byte[]?[])).ToArray();
        await using var stream = File.Create(this[name]);
        await using var writer = await ParquetWriter.CreateAsync(
            new ParquetSchema(fields), stream, new ParquetOptions { CompressionMethod = compression });
        var rows = columns[0].Values.Length;
        for (var from = 0; from < rows; from += groupRows)
        {
            using var group = writer.CreateRowGroup();
            for (var at = 0; at < fields.Length; at++)
                await WriteAsync(group, fields[at], columns[at].Values, from, Math.Min(groupRows, rows - from));
            group.CompleteValidate();
        }
    }

    private static Task WriteAsync(
        ParquetRowGroupWriter group, Parquet.Schema.DataField field, Array values, int from, int count) => values switch
        {
            string?[] texts => group.WriteAsync(
                field, (IReadOnlyCollection<string>)new ArraySegment<string>(texts!, from, count)),
            byte[]?[] bytes => group.WriteAsync(
                field, (IReadOnlyCollection<byte[]>)new ArraySegment<byte[]>(bytes!, from, count)),
            long[] numbers => group.WriteAsync<long>(field, numbers.AsMemory(from, count)),
            int[] numbers => group.WriteAsync<int>(field, numbers.AsMemory(from, count)),
            double[] numbers => group.WriteAsync<double>(field, numbers.AsMemory(from, count)),
            bool[] truths => group.WriteAsync<bool>(field, truths.AsMemory(from, count)),
            _ => throw new ArgumentException(values.GetType().Name),
        };
}
