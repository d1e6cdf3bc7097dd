using Parquet;
using Parquet.Schema;
using ParquetDataField = Parquet.Schema.DataField;

namespace Peft.Data.Tables;

/// <summary>The columns of a Parquet file: which have a text form, and how their parts are read.</summary>
internal static class ParquetColumns
{
    /// <summary>Types whose values have a text form; the others are refused by name.</summary>
    private static readonly HashSet<Type> WithText =
    [
        typeof(ReadOnlyMemory<char>), typeof(ReadOnlyMemory<byte>), typeof(bool), typeof(sbyte), typeof(byte), typeof(short), typeof(ushort),
        typeof(int), typeof(uint), typeof(long), typeof(ulong), typeof(float), typeof(double), typeof(decimal), typeof(Parquet.Data.BigDecimal),
        typeof(DateTime), typeof(DateOnly), typeof(TimeOnly), typeof(TimeSpan), typeof(Guid), typeof(string), typeof(byte[]),
    ];

    /// <summary>A column by its field.</summary>
    public static TableColumn Of(Field field) => new(field.Name, Refused(field));

    /// <summary>The fields whose data is read for a column, in the file's order.</summary>
    public static IEnumerable<ParquetDataField> Leaves(Field field) => field switch
    {
        ParquetDataField data => [data],
        ListField list => Leaves(list.Item),
        MapField map => Leaves(map.Key).Concat(Leaves(map.Value)),
        StructField part => part.Fields.SelectMany(Leaves),
        _ => [],
    };

    /// <summary>A top-level text column as bytes, so that it is seen whether they are UTF-8.</summary>
    public static ParquetDataField AsBytes(ParquetDataField field)
    {
        if (field.ClrType != typeof(ReadOnlyMemory<char>) || field.IsArray || field.Path.Length != 1)
            return field;
        var bytes = new ParquetDataField(field.Name, typeof(byte[]), field.IsNullable);
        _ = new ParquetSchema(bytes); // gives the field its path and levels
        return bytes;
    }

    private static string? Refused(Field field) => Leaves(field)
        .Where(leaf => !WithText.Contains(leaf.ClrType)).Select(leaf => leaf.SchemaElement?.ConvertedType?.ToString() ?? leaf.ClrType.Name).FirstOrDefault();
}
