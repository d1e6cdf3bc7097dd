using Peft.Formats.Safetensors;

namespace Peft.Models.Loading;

/// <summary>The names that one type of number has in PyTorch, in config.json and recipes, and in safetensors: the one
/// list of them.</summary>
public static class DtypeNames
{
    // Models are stored in the first four.
    private static readonly (ScalarType Type, string Name, SafetensorsDtype Stored)[] All =
    [
        (ScalarType.Float32, "float32", SafetensorsDtype.F32),
        (ScalarType.BFloat16, "bfloat16", SafetensorsDtype.BF16),
        (ScalarType.Float16, "float16", SafetensorsDtype.F16),
        (ScalarType.Float64, "float64", SafetensorsDtype.F64),
        (ScalarType.Int64, "int64", SafetensorsDtype.I64),
        (ScalarType.Int32, "int32", SafetensorsDtype.I32),
        (ScalarType.Int16, "int16", SafetensorsDtype.I16),
        (ScalarType.Int8, "int8", SafetensorsDtype.I8),
        (ScalarType.Byte, "uint8", SafetensorsDtype.U8),
        (ScalarType.Bool, "bool", SafetensorsDtype.BOOL),
    ];

    /// <summary>The names of the types that a model can be stored in.</summary>
    public static IReadOnlyList<string> OfModels { get; } = [.. All.Take(4).Select(row => row.Name)];

    /// <summary>PyTorch's name, which config.json and recipes use: <c>float32</c>, <c>bfloat16</c>, <c>int64</c>,
    /// ...</summary>
    public static string Name(this ScalarType dtype) => Row(row => row.Type == dtype, dtype).Name;

    /// <summary>The type of this name.</summary>
    public static ScalarType Parse(string name) => Row(row => row.Name == name, name).Type;

    /// <summary>Torch's type for a safetensors type; null where it has none of that name.</summary>
    public static ScalarType? ToTorch(SafetensorsDtype stored) =>
        All.Where(row => row.Stored == stored).Select(row => (ScalarType?)row.Type).FirstOrDefault();

    /// <summary>The same for the types that a model can be stored in; null for all others.</summary>
    public static ScalarType? OfModel(SafetensorsDtype stored) =>
        ToTorch(stored) is { } type && type.IsFloatingPoint() ? type : null;

    /// <summary>The safetensors type of a Torch type.</summary>
    public static SafetensorsDtype ToSafetensors(ScalarType dtype) => Row(row => row.Type == dtype, dtype).Stored;

    private static (ScalarType Type, string Name, SafetensorsDtype Stored) Row(
        Func<(ScalarType Type, string Name, SafetensorsDtype Stored), bool> isIt, object wanted)
    {
        foreach (var row in All)
        {
            if (isIt(row))
                return row;
        }

        throw new ArgumentException($"'{wanted}' is no type of number that is stored here");
    }
}
