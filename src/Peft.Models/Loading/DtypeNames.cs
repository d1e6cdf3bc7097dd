using Peft.Formats.Safetensors;

namespace Peft.Models.Loading;

/// <summary>The names one type of number has in safetensors, in config.json and in Torch.</summary>
public static class DtypeNames
{
    /// <summary>Torch's type for a safetensors type that a model can be stored in, or null.</summary>
    public static ScalarType? ToTorch(SafetensorsDtype dtype) => dtype switch
    {
        SafetensorsDtype.F32 => ScalarType.Float32,
        SafetensorsDtype.BF16 => ScalarType.BFloat16,
        SafetensorsDtype.F16 => ScalarType.Float16,
        SafetensorsDtype.F64 => ScalarType.Float64,
        _ => null,
    };

    /// <summary>The safetensors type of a floating Torch type.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Models are not stored in this type.</exception>
    public static SafetensorsDtype ToSafetensors(ScalarType dtype) => dtype switch
    {
        ScalarType.Float32 => SafetensorsDtype.F32,
        ScalarType.BFloat16 => SafetensorsDtype.BF16,
        ScalarType.Float16 => SafetensorsDtype.F16,
        ScalarType.Float64 => SafetensorsDtype.F64,
        _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "models are stored in floating types"),
    };

    /// <summary>config.json's name of a floating Torch type, such as <c>bfloat16</c>.</summary>
    public static string ToConfig(ScalarType dtype) => dtype.Name();
}
