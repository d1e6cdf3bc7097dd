using System.Buffers.Binary;

namespace Peft.Data.Tables;

/// <summary>Walks a Parquet file's footer before the library reads it: over some damaged ones the library would read on
/// for ever.</summary>
/// <remarks>Source: Apache Thrift, compact protocol; parquet-format, <c>parquet.thrift</c>. Every value must end within
/// the footer, and the fields named in <see cref="Known"/> must have their type; others are passed over.</remarks>
internal ref struct ParquetFooter
{
    private const int Magic = 4, LengthSize = 4, Deepest = 32, Largest = 1 << 30;
    private const int True = 1, False = 2, Byte = 3, I16 = 4, I32 = 5, I64 = 6, Double = 7, Binary = 8, List = 9,
        Set = 10, Map = 11, Struct = 12;

    // Of each structure, field numbers and types; a list says what it is a list of.
    private static readonly Dictionary<string, Dictionary<int, (int Type, int Element, string? Of)>> Known = new()
    {
        ["file"] = Fields(
            (1, I32, 0, null), (2, List, Struct, "element"), (3, I64, 0, null), (4, List, Struct, "group"),
            (5, List, Struct, null), (6, Binary, 0, null)),
        ["element"] = Fields(
            (1, I32, 0, null), (2, I32, 0, null), (3, I32, 0, null), (4, Binary, 0, null), (5, I32, 0, null),
            (6, I32, 0, null), (7, I32, 0, null),
            (8, I32, 0, null), (9, I32, 0, null), (10, Struct, 0, null)),
        ["group"] = Fields(
            (1, List, Struct, "chunk"), (2, I64, 0, null), (3, I64, 0, null), (4, List, Struct, null),
            (5, I64, 0, null), (6, I64, 0, null), (7, I16, 0, null)),
        ["chunk"] = Fields(
            (1, Binary, 0, null), (2, I64, 0, null), (3, Struct, 0, "column"), (4, I64, 0, null), (5, I32, 0, null),
            (6, I64, 0, null), (7, I32, 0, null)),
        ["column"] = Fields(
            (1, I32, 0, null), (2, List, I32, null), (3, List, Binary, null), (4, I32, 0, null), (5, I64, 0, null),
            (6, I64, 0, null), (7, I64, 0, null),
            (8, List, Struct, null), (9, I64, 0, null), (10, I64, 0, null), (11, I64, 0, null), (12, Struct, 0, null),
            (13, List, Struct, null),
            (14, I64, 0, null), (15, I32, 0, null)),
    };

    private readonly ReadOnlySpan<byte> _bytes;
    private int _at;

    private ParquetFooter(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    /// <summary>Whether the footer of a file with whole ends can be read.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static bool IsWhole(Stream file)
    {
        Span<byte> size = stackalloc byte[LengthSize];
        if (file.Length < (2 * Magic) + LengthSize)
            return false;
        file.Position = file.Length - Magic - LengthSize;
        file.ReadExactly(size);
        var length = BinaryPrimitives.ReadInt32LittleEndian(size);
        if (length is <= 0 or > Largest || length > file.Length - (2 * Magic) - LengthSize)
            return false;
        var bytes = new byte[length];
        file.Position = file.Length - Magic - LengthSize - length;
        file.ReadExactly(bytes);
        return new ParquetFooter(bytes).Structure("file", 0);
    }

    private bool Structure(string? name, int depth)
    {
        if (depth > Deepest)
            return false;
        var known = name is null ? null : Known[name];
        for (long field = 0; ;)
        {
            if (!Take(out var header))
                return false;
            if (header == 0)
                return true;
            var (type, delta) = (header & 15, header >> 4);
            if (delta == 0)
            {
                if (!Number(out var number))
                    return false;
                field = (long)(number >> 1) ^ -(long)(number & 1);
            }
            else
            {
                field += delta;
            }

            var place = known is not null && field is > 0 and < int.MaxValue
                && known.TryGetValue((int)field, out var found) ? found : default;
            if ((place.Type != 0 && place.Type != type) || !Value(type, place.Element, place.Of, depth))
                return false;
        }
    }

    private bool Value(int type, int element, string? of, int depth) => type switch
    {
        True or False => true,
        Byte => Skip(1),
        I16 or I32 or I64 => Number(out _),
        Double => Skip(8),
        Binary => Number(out var length) && length <= int.MaxValue && Skip((int)length),
        List or Set => Elements(element, of, depth + 1),
        Map => Pairs(depth + 1),
        Struct => Structure(of, depth + 1),
        _ => false,
    };

    private bool Elements(int wanted, string? of, int depth)
    {
        if (!Take(out var header))
            return false;
        var (type, count) = (header & 15, (ulong)(header >> 4));
        if ((count == 15 && !Number(out count)) || count > (ulong)(_bytes.Length - _at)
            || (count > 0 && wanted != 0 && wanted != type))
            return false;
        for (ulong i = 0; i < count; i++)
        {
            // A truth value in a list takes a byte.
            if (!(type is True or False ? Skip(1) : Value(type, 0, of, depth)))
                return false;
        }

        return true;
    }

    private bool Pairs(int depth)
    {
        if (!Number(out var count) || count > (ulong)(_bytes.Length - _at))
            return false;
        if (count == 0)
            return true;
        if (!Take(out var types))
            return false;
        for (ulong i = 0; i < count; i++)
        {
            if (!Value(types >> 4, 0, null, depth) || !Value(types & 15, 0, null, depth))
                return false;
        }

        return true;
    }

    private bool Take(out int value)
    {
        value = _at < _bytes.Length ? _bytes[_at++] : -1;
        return value >= 0;
    }

    private bool Skip(int count)
    {
        if (count > _bytes.Length - _at)
            return false;
        _at += count;
        return true;
    }

    private bool Number(out ulong value)
    {
        value = 0;
        for (var shift = 0; shift < 70; shift += 7)
        {
            if (!Take(out var part))
                return false;
            value |= (ulong)(part & 127) << shift;
            if (part < 128)
                return true;
        }

        return false;
    }

    private static Dictionary<int, (int Type, int Element, string? Of)> Fields(
        params (int Number, int Type, int Element, string? Of)[] fields) =>
        fields.ToDictionary(field => field.Number, field => (field.Type, field.Element, field.Of));
}
