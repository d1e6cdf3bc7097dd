namespace Peft.Torch;

/// <summary>Element types, with the numbers libtorch gives them.</summary>
public enum ScalarType
{
    /// <summary>8 bits, no sign.</summary>
    Byte = 0,

    /// <summary>8 bits.</summary>
    Int8 = 1,

    /// <summary>16 bits.</summary>
    Int16 = 2,

    /// <summary>32 bits.</summary>
    Int32 = 3,

    /// <summary>64 bits; the type of indices.</summary>
    Int64 = 4,

    /// <summary>IEEE half precision.</summary>
    Float16 = 5,

    /// <summary>IEEE single precision; the default.</summary>
    Float32 = 6,

    /// <summary>IEEE double precision.</summary>
    Float64 = 7,

    /// <summary>Truth values, a byte each.</summary>
    Bool = 11,

    /// <summary>The upper half of a float32.</summary>
    BFloat16 = 15,
}
