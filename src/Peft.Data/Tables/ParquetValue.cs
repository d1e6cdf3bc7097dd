using System.Globalization;
using System.Text;
using Parquet;
using Parquet.Data;
using Parquet.Meta;
using Parquet.Schema;
using Peft.Formats.Templates;
using Scriban.Runtime;
using ParquetDataField = Parquet.Schema.DataField;

namespace Peft.Data.Tables;

/// <summary>One column of a row group; puts the values of nested ones together out of their definition and repetition
/// levels.</summary>
internal abstract class ParquetValue
{
    /// <summary>The first leaf: its levels tell whether a list or object is there.</summary>
    public abstract ParquetLeaf First { get; }

    /// <summary>Takes the next value.</summary>
    public abstract object? Take();

    /// <summary>Builds the reader of a field.</summary>
    public static ParquetValue Of(Field field, Func<ParquetDataField, ParquetLeaf> leaf) => field switch
    {
        ParquetDataField { IsArray: true } data => new ListValue(
            new LeafValue(leaf(data)), data.MaxDefinitionLevel, data.MaxRepetitionLevel),
        ParquetDataField data => new LeafValue(leaf(data)),
        ListField list => new ListValue(Of(list.Item, leaf), list.MaxDefinitionLevel, list.MaxRepetitionLevel),
        StructField part => new ObjectValue(
            [.. part.Fields.Select(item => (item.Name, Of(item, leaf)))], part.MaxDefinitionLevel),
        MapField map => new MapValue(
            Of(map.Key, leaf), Of(map.Value, leaf), map.MaxDefinitionLevel, map.MaxRepetitionLevel),
        _ => throw new InvalidDataException($"column {field.Name} is of an unknown kind"),
    };

    // What holds a text that is not UTF-8 is none itself: the row is refused, and never seen by a template.
    private static bool IsText(object? value) => !ReferenceEquals(value, TableReader.NotUtf8);

    private sealed class LeafValue(ParquetLeaf leaf) : ParquetValue
    {
        public override ParquetLeaf First => leaf;

        public override object? Take() => leaf.Take();
    }

    private sealed class ObjectValue((string Name, ParquetValue Value)[] parts, int level) : ParquetValue
    {
        public override ParquetLeaf First => parts[0].Value.First;

        public override object? Take()
        {
            var isThere = First.Definition >= level;
            var made = new ScriptObject(StringComparer.Ordinal);
            var isText = true;
            foreach (var (name, part) in parts)
            {
                var value = part.Take();
                isText &= IsText(value);
                made.SetValue(name, value!, readOnly: false);
            }

            return !isThere ? null : isText ? made : TableReader.NotUtf8;
        }
    }

    // Below the level: an empty list. Two below: no list.
    private sealed class ListValue(ParquetValue item, int level, int repetition) : ParquetValue
    {
        public override ParquetLeaf First => item.First;

        public override object? Take()
        {
            var definition = First.Definition;
            if (definition < level)
            {
                item.Take();
                return definition == level - 1 ? new ScriptArray() : null;
            }

            var made = new ScriptArray();
            var isText = true;
            do
            {
                var value = item.Take();
                isText &= IsText(value);
                made.Add(value!);
            }
            while (First.Repetition >= repetition);
            return isText ? made : TableReader.NotUtf8;
        }
    }

    private sealed class MapValue(ParquetValue key, ParquetValue value, int level, int repetition) : ParquetValue
    {
        public override ParquetLeaf First => key.First;

        public override object? Take()
        {
            var definition = First.Definition;
            var made = new ScriptObject(StringComparer.Ordinal);
            var isText = true;
            do
            {
                var (name, item) = (key.Take(), value.Take());
                isText &= IsText(name) && IsText(item);
                if (definition >= level)
                    made.SetValue(Convert.ToString(name, CultureInfo.InvariantCulture) ?? "", item!, readOnly: false);
            }
            while (First.Repetition >= repetition);
            return definition < level - 1 ? null : isText ? made : TableReader.NotUtf8;
        }
    }
}

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
            RawColumnData<long> d => Make(
                d, value => IsTime(field) ? Time(value, IsNanos(field) ? 1_000_000_000 : 1_000_000) : value),
            RawColumnData<ulong> d => Make(d, value => WrittenNumber.Of(value.ToString(CultureInfo.InvariantCulture))),
            RawColumnData<float> d => Make(
                d, value => Number(value, value.ToString("R", CultureInfo.InvariantCulture))),
            RawColumnData<double> d => Make(
                d, value => Number(value, value.ToString("R", CultureInfo.InvariantCulture))),
            RawColumnData<decimal> d => Make(
                d, value => WrittenNumber.Of(value.ToString(CultureInfo.InvariantCulture), value)),
            RawColumnData<BigDecimal> d => Make(d, value => WrittenNumber.Of(value.ToString())),
            RawColumnData<DateOnly> d => Make(d, value => value.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)),
            RawColumnData<DateTime> d => Make(d, value => Instant(field, value)),
            RawColumnData<TimeOnly> d => Make(
                d, value => value.ToString("HH:mm:ss.FFFFFFF", CultureInfo.InvariantCulture)),
            RawColumnData<TimeSpan> d => Make(
                d, value => TimeOnly.FromTimeSpan(value).ToString("HH:mm:ss.FFFFFFF", CultureInfo.InvariantCulture)),
            RawColumnData<Guid> d => Make(d, value => value.ToString()),
            _ => throw new InvalidDataException(
                $"column {field.Name} has values of the type {data.GetType().GenericTypeArguments[0].Name}"),
        };

        ParquetLeaf Make<T>(RawColumnData<T> raw, Func<T, object> convert)
            where T : struct => new Typed<T>(field.MaxDefinitionLevel, definitions, repetitions, raw, convert);
    }

    /// <summary>Gives the memory of the values back.</summary>
    public abstract void Release();

    protected abstract object ValueAt(int index);

    private static InvalidDataException Short() => new("a column ends before its row group");

    private static object Text(ReadOnlySpan<byte> bytes) =>
        System.Text.Unicode.Utf8.IsValid(bytes) ? Strict.GetString(bytes) : TableReader.NotUtf8;

    // As Python prints it: 5.0, 1e+16, nan. .NET's shortest text has the same digits.
    private static WrittenNumber Number(double value, string text)
    {
        if (!double.IsFinite(value))
            return WrittenNumber.Of(double.IsNaN(value) ? "nan" : value > 0 ? "inf" : "-inf", value);
        // Where exponents begin differs: .NET's at 1E+17, and at 1E+09 for 32 bits.
        if (Math.Abs(value) is >= 1e16 or (< 1e-4 and > 0))
            return WrittenNumber.Of(
                text.Contains('E', StringComparison.Ordinal) ? text.Replace('E', 'e') : Shortened(text), value);
        var plain = decimal.Parse(
            text, NumberStyles.Float, CultureInfo.InvariantCulture).ToString(CultureInfo.InvariantCulture);
        return WrittenNumber.Of(plain.Contains('.', StringComparison.Ordinal) ? plain : plain + ".0", value);
    }

    // 15000000000000000 as 1.5e+16.
    private static string Shortened(string whole)
    {
        var sign = whole[0] == '-' ? "-" : "";
        var (first, rest) = (whole[sign.Length], whole[(sign.Length + 1)..].TrimEnd('0'));
        return $"{sign}{first}{(rest.Length == 0 ? "" : "." + rest)}e+{whole.Length - sign.Length - 1}";
    }

    private static bool IsTime(ParquetDataField field) =>
        field.SchemaElement is { } element && (element.LogicalType?.TIME is not null
            || element.ConvertedType is ConvertedType.TIME_MICROS or ConvertedType.TIME_MILLIS);

    private static bool IsNanos(ParquetDataField field) =>
        field.SchemaElement?.LogicalType?.TIME?.Unit?.NANOS is not null;

    private static string Time(long value, long perSecond)
    {
        const long Ticks = TimeSpan.TicksPerSecond;
        var ticks = perSecond > Ticks ? value / (perSecond / Ticks) : checked(value * (Ticks / perSecond));
        return new TimeOnly(ticks).ToString("HH:mm:ss.FFFFFFF", CultureInfo.InvariantCulture);
    }

    private static string Instant(ParquetDataField field, DateTime value)
    {
        var isUtc = value.Kind == DateTimeKind.Utc
            && field.SchemaElement?.LogicalType?.TIMESTAMP?.IsAdjustedToUTC != false;
        return value.ToString("yyyy-MM-dd HH:mm:ss.FFFFFFF", CultureInfo.InvariantCulture) + (isUtc ? "+00" : "");
    }

    private sealed class Typed<T>(
        int level, int[]? definitions, int[]? repetitions, RawColumnData<T> raw, Func<T, object> convert)
        : ParquetLeaf(level, definitions, repetitions)
        where T : struct
    {
        public override void Release() => raw.Dispose();

        protected override object ValueAt(int index) => convert(raw.Values[index]);
    }
}

/// <summary>The columns of a Parquet file: which have a text form, and how their parts are read.</summary>
internal static class ParquetColumns
{
    /// <summary>Types whose values have a text form; the others are refused by name.</summary>
    private static readonly HashSet<System.Type> WithText =
    [
        typeof(ReadOnlyMemory<char>), typeof(ReadOnlyMemory<byte>), typeof(bool), typeof(sbyte), typeof(byte),
        typeof(short), typeof(ushort),
        typeof(int), typeof(uint), typeof(long), typeof(ulong), typeof(float), typeof(double), typeof(decimal),
        typeof(Parquet.Data.BigDecimal),
        typeof(DateTime), typeof(DateOnly), typeof(TimeOnly), typeof(TimeSpan), typeof(Guid), typeof(string),
        typeof(byte[]),
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

    private static string? Refused(Field field) => Leaves(field)
        .Where(leaf => !WithText.Contains(leaf.ClrType)).Select(
            leaf => leaf.SchemaElement?.ConvertedType?.ToString() ?? leaf.ClrType.Name).FirstOrDefault();
}
