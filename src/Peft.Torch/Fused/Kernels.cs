namespace Peft.Torch;

/// <summary>Where a fused operation runs over memory itself.</summary>
internal static class Kernels
{
    /// <summary>False: everything is composed of libtorch's operations, as on a GPU. For tests and benchmarks.</summary>
    public static bool Enabled { get; set; } = true;

    /// <summary>Whether products of bfloat16 are faster than those of float32 on this processor.</summary>
    public static bool FastBFloat16 { get; set; } = true;

    /// <summary>Whether there are kernels for a tensor like this one.</summary>
    public static bool Serve(Tensor tensor) =>
        Enabled && Gemm.IsAvailable && tensor.device_type == DeviceType.CPU
        && tensor.dtype is ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16 or ScalarType.Float64;

    /// <summary>Whether the loops over rows (norm, SwiGLU, rotary) serve a tensor: they know float32 and bfloat16.</summary>
    public static bool ServeRows(Tensor tensor) =>
        Enabled && tensor.device_type == DeviceType.CPU && tensor.dtype is ScalarType.Float32 or ScalarType.BFloat16 && tensor.numel() > 0;
}
