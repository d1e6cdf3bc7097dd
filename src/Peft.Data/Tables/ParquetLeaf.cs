using System.Globalization;
using System.Text;
using Parquet.Data;
using Parquet.Meta;
using Peft.Formats.Templates;
using ParquetDataField = Parquet.Schema.DataField;

namespace Peft.Data.Tables;

/// <summary>The values of one field in one row group, taken one after the other.</summary>
internal abstract class ParquetLeaf(int level, int[]? definitions, int[]? repetitions)
{
    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);
    private int _at;
    private int _value;

    /// <summary>The definition level of the next value.</summary>
    public int Definition => definitions is null ? level : _at < definitions.Length ? definitions[_at] : throw Short();

    /// <summary>The repetition level of the next value; 0 at the end.</summary>
    public int Repetition => repetitions is null || _at >= repetitions.Length ? 0 : repetitions[_at];

    /// <summary>Takes the next value; null where there is none.</summary>
    public object? Take()
    {
        var isValue = Definition == level;
        _at++;
        return isValue ? ValueAt(_value++) : null;
    }

    /// <summary>The leaf of a column's data.</summary>
    public static ParquetLeaf Of(ParquetDataField field, RawColumnData data)
    {
        var definitions = field.MaxDefinitionLevel > 0 ? data.DefinitionLevels.ToArray() : null;
        var repetitions = field.MaxRepetitionLevel > 0 ? data.RepetitionLevels.ToArray() : null;
        return data switch
        {
            RawColumnData<ReadOnlyMemory<char>> d => Make(d, value => value.ToString()),
            RawColumnData<ReadOnlyMemory<byte>> d => Make(d, value => Text(value.Span)),
            RawColumnData<bool> d => Make(d, value => value),
            RawColumnData<sbyte> d => Make(d, value => (int)value),
            RawColumnData<byte> d => Make(d, value => (int)value),
            RawColumnData<short> d => Make(d, value => (int)value),
            RawColumnData<ushort> d => Make(d, value => (int)value),
            RawColumnData<int> d => Make(d, value => IsTime(field) ? Time(value, 1_000) : value),
            RawColumnData<uint> d => Make(d, value => (long)value),
            RawColumnData<long> d => Make(d, value => IsTime(field) ? Time(value, field.SchemaElement?.LogicalType?.TIME?.Unit?.NANOS is null ? 1_000_000 : 1_000_000_000) : value),
            RawColumnData<ulong> d => Make(d, value => WrittenNumber.Of(value.ToString(CultureInfo.InvariantCulture))),
            RawColumnData<float> d => Make(d, value => Number(value, value.ToString("R", CultureInfo.InvariantCulture))),
            RawColumnData<double> d => Make(d, value => Number(value, value.ToString("R", CultureInfo.InvariantCulture))),
            RawColumnData<decimal> d => Make(d, value => WrittenNumber.Of(value.ToString(CultureInfo.InvariantCulture), value)),
            RawColumnData<BigDecimal> d => Make(d, value => WrittenNumber.Of(value.ToString())),
            RawColumnData<DateOnly> d => Make(d, value => value.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)),
            RawColumnData<DateTime> d => Make(d, value => Instant(field, value)),
            RawColumnData<TimeOnly> d => Make(d, value => value.ToString("HH:mm:ss.FFFFFFF", CultureInfo.InvariantCulture)),
            RawColumnData<TimeSpan> d => Make(d, value => TimeOnly.FromTimeSpan(value).ToString("HH:mm:ss.FFFFFFF", CultureInfo.InvariantCulture)),
            RawColumnData<Guid> d => Make(d, value => value.ToString()),
            _ => throw new InvalidDataException($"column {field.Name} has values of the type {data.GetType().GenericTypeArguments.FirstOrDefault()?.Name}"),
        };

        ParquetLeaf Make<T>(RawColumnData<T> raw, Func<T, object> convert)
            where T : struct => new Typed<T>(field.MaxDefinitionLevel, definitions, repetitions, raw, convert);
    }

    /// <summary>Gives the memory of the values back.</summary>
    public abstract void Release();

    protected abstract object ValueAt(int index);

    private static InvalidDataException Short() => new("a column ends before its row group");

    private static object Text(ReadOnlySpan<byte> bytes) => System.Text.Unicode.Utf8.IsValid(bytes) ? Strict.GetString(bytes) : TableReader.NotUtf8;

    // A number with a fraction shows that it is one: 5.0, as Python prints it.
    private static WrittenNumber Number(double value, string text) =>
        WrittenNumber.Of(double.IsFinite(value) && text.AsSpan().IndexOfAny('.', 'E') < 0 ? text + ".0" : text, value);

    private static bool IsTime(ParquetDataField field) =>
        field.SchemaElement is { } element && (element.LogicalType?.TIME is not null || element.ConvertedType is ConvertedType.TIME_MICROS or ConvertedType.TIME_MILLIS);

    private static string Time(long value, long perSecond) =>
        new TimeOnly(checked(value * (TimeSpan.TicksPerSecond / Math.Min(perSecond, TimeSpan.TicksPerSecond)) / (perSecond > TimeSpan.TicksPerSecond ? perSecond / TimeSpan.TicksPerSecond : 1)))
            .ToString("HH:mm:ss.FFFFFFF", CultureInfo.InvariantCulture);

    private static string Instant(ParquetDataField field, DateTime value)
    {
        var isUtc = value.Kind == DateTimeKind.Utc && field.SchemaElement?.LogicalType?.TIMESTAMP?.IsAdjustedToUTC != false;
        return value.ToString("yyyy-MM-dd HH:mm:ss.FFFFFFF", CultureInfo.InvariantCulture) + (isUtc ? "+00" : "");
    }

    private sealed class Typed<T>(int level, int[]? definitions, int[]? repetitions, RawColumnData<T> raw, Func<T, object> convert)
        : ParquetLeaf(level, definitions, repetitions)
        where T : struct
    {
        public override void Release() => raw.Dispose();

        protected override object ValueAt(int index) => convert(raw.Values[index]);
    }
}
