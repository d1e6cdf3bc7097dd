namespace Peft.Torch;

/// <summary>Facts about element types.</summary>
public static class ScalarTypeExtensions
{
    /// <summary>Bytes of one element.</summary>
    public static int ElementSize(this ScalarType dtype) => dtype switch
    {
        ScalarType.Byte or ScalarType.Int8 or ScalarType.Bool => 1,
        ScalarType.Int16 or ScalarType.Float16 or ScalarType.BFloat16 => 2,
        ScalarType.Int32 or ScalarType.Float32 => 4,
        ScalarType.Int64 or ScalarType.Float64 => 8,
        _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "element type unknown here"),
    };

    /// <summary>Whether the type is a floating one.</summary>
    public static bool IsFloatingPoint(this ScalarType dtype) =>
        dtype is ScalarType.Float16 or ScalarType.BFloat16 or ScalarType.Float32 or ScalarType.Float64;

    /// <summary>PyTorch's name: <c>float32</c>, <c>bfloat16</c>, <c>int64</c> ...</summary>
    public static string Name(this ScalarType dtype) => dtype switch
    {
        ScalarType.Byte => "uint8",
        ScalarType.Int8 => "int8",
        ScalarType.Int16 => "int16",
        ScalarType.Int32 => "int32",
        ScalarType.Int64 => "int64",
        ScalarType.Float16 => "float16",
        ScalarType.Float32 => "float32",
        ScalarType.Float64 => "float64",
        ScalarType.Bool => "bool",
        ScalarType.BFloat16 => "bfloat16",
        _ => $"type {(int)dtype}",
    };

    /// <summary>Whether arrays of a .NET type hold these elements. BFloat16 has none: its bits are held by
    /// ushort.</summary>
    internal static bool IsHeldBy(this ScalarType dtype, Type type) => dtype switch
    {
        ScalarType.Byte => type == typeof(byte),
        ScalarType.Int8 => type == typeof(sbyte),
        ScalarType.Int16 => type == typeof(short),
        ScalarType.Int32 => type == typeof(int),
        ScalarType.Int64 => type == typeof(long),
        ScalarType.Float16 => type == typeof(Half),
        ScalarType.Float32 => type == typeof(float),
        ScalarType.Float64 => type == typeof(double),
        ScalarType.Bool => type == typeof(bool),
        ScalarType.BFloat16 => type == typeof(ushort),
        _ => false,
    };

    /// <summary>The .NET type of <see cref="IsHeldBy"/>, for messages.</summary>
    internal static string ManagedName(this ScalarType dtype) => dtype switch
    {
        ScalarType.Byte => "Byte",
        ScalarType.Int8 => "SByte",
        ScalarType.Int16 => "Int16",
        ScalarType.Int32 => "Int32",
        ScalarType.Int64 => "Int64",
        ScalarType.Float16 => "Half",
        ScalarType.Float32 => "Single",
        ScalarType.Float64 => "Double",
        ScalarType.Bool => "Boolean",
        ScalarType.BFloat16 => "UInt16 (the raw bits)",
        _ => "none",
    };
}
