namespace Peft.Torch;

/// <summary>The functions of libtorch, with PyTorch's and TorchSharp's names.</summary>
public static partial class torch
{
    /// <summary>The type uint8.</summary>
    public const ScalarType uint8 = ScalarType.Byte;

    /// <summary>The type int8.</summary>
    public const ScalarType int8 = ScalarType.Int8;

    /// <summary>The type int16.</summary>
    public const ScalarType int16 = ScalarType.Int16;

    /// <summary>The type int32.</summary>
    public const ScalarType int32 = ScalarType.Int32;

    /// <summary>The type int64.</summary>
    public const ScalarType int64 = ScalarType.Int64;

    /// <summary>The type float16.</summary>
    public const ScalarType float16 = ScalarType.Float16;

    /// <summary>The type float32.</summary>
    public const ScalarType float32 = ScalarType.Float32;

    /// <summary>The type float64.</summary>
    public const ScalarType float64 = ScalarType.Float64;

    /// <summary>The type bfloat16.</summary>
    public const ScalarType bfloat16 = ScalarType.BFloat16;

    /// <summary>The type bool.</summary>
    public const ScalarType @bool = ScalarType.Bool;

    /// <summary>The host.</summary>
    public static Device CPU { get; } = new(DeviceType.CPU);

    /// <summary>The first NVIDIA GPU.</summary>
    public static Device CUDA { get; } = new(DeviceType.CUDA, 0);

    /// <summary>A device by name: <c>cpu</c>, <c>cuda</c>, <c>cuda:N</c>.</summary>
    public static Device device(string name) => Device.Parse(name);

    /// <summary>A device by kind and number.</summary>
    public static Device device(DeviceType type, int index = -1) => new(type, index);

    /// <summary>Opens a scope: tensors that this thread makes until it is closed are freed with it.</summary>
    public static DisposeScope NewDisposeScope() => new();
}
