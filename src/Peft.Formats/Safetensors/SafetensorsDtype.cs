namespace Peft.Formats.Safetensors;

/// <summary>Element types, named as the format spells them.</summary>
public enum SafetensorsDtype
{
    /// <summary>One byte, 0 or 1.</summary>
    BOOL,

    /// <summary>Unsigned, 1 byte.</summary>
    U8,

    /// <summary>Signed, 1 byte.</summary>
    I8,

    /// <summary>Signed, 2 bytes.</summary>
    I16,

    /// <summary>Unsigned, 2 bytes.</summary>
    U16,

    /// <summary>IEEE half precision, 2 bytes.</summary>
    F16,

    /// <summary>The upper half of a float32, 2 bytes.</summary>
    BF16,

    /// <summary>Signed, 4 bytes.</summary>
    I32,

    /// <summary>Unsigned, 4 bytes.</summary>
    U32,

    /// <summary>IEEE single precision, 4 bytes.</summary>
    F32,

    /// <summary>IEEE double precision, 8 bytes.</summary>
    F64,

    /// <summary>Signed, 8 bytes.</summary>
    I64,

    /// <summary>Unsigned, 8 bytes.</summary>
    U64,

    /// <summary>Float of 8 bits, 5 of them exponent, 1 byte.</summary>
    F8_E5M2,

    /// <summary>Float of 8 bits, 4 of them exponent, 1 byte.</summary>
    F8_E4M3,
}

/// <summary>What is known about each <see cref="SafetensorsDtype"/>.</summary>
public static class SafetensorsDtypes
{
    /// <summary>The names that a file may use.</summary>
    public static IReadOnlyList<string> Names { get; } = Enum.GetNames<SafetensorsDtype>();

    /// <summary>Bytes of one element.</summary>
    public static int ByteSize(this SafetensorsDtype dtype) => dtype switch
    {
        SafetensorsDtype.F64 or SafetensorsDtype.I64 or SafetensorsDtype.U64 => 8,
        SafetensorsDtype.F32 or SafetensorsDtype.I32 or SafetensorsDtype.U32 => 4,
        SafetensorsDtype.F16 or SafetensorsDtype.BF16 or SafetensorsDtype.I16 or SafetensorsDtype.U16 => 2,
        _ => 1,
    };

    internal static bool TryParse(string name, out SafetensorsDtype dtype)
    {
        dtype = default;
        return Names.Contains(name, StringComparer.Ordinal) && Enum.TryParse(name, out dtype);
    }

    /// <summary>Bytes of a whole tensor, or null when some product of its sizes does not fit into 63 bits.</summary>
    internal static long? ByteCount(SafetensorsDtype dtype, IReadOnlyList<long> shape)
    {
        var bytes = (Int128)dtype.ByteSize();
        foreach (var size in shape)
        {
            // A size of zero makes the tensor empty, but strides are still computed from the other sizes.
            bytes *= Math.Max(size, 1);
            if (bytes > long.MaxValue)
                return null;
        }

        return shape.Contains(0) ? 0 : (long)bytes;
    }
}
