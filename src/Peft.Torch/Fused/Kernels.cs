using System.Runtime.Intrinsics.X86;

namespace Peft.Torch.Fused;

/// <summary>Where a fused operation runs over memory itself.</summary>
internal static class Kernels
{
    /// <summary>False: everything is composed of libtorch's operations, as on a GPU. For tests and
    /// benchmarks.</summary>
    public static bool Enabled { get; set; } = true;

    /// <summary>Whether the processor multiplies bfloat16 itself (AVX512_BF16 or AMX): some twice as fast as float32.
    /// Without, libtorch's own products of bfloat16 take four times as long as those of float32, and ours as
    /// long.</summary>
    public static bool ProcessorHasBFloat16 { get; } = FindBFloat16();

    /// <summary>Whether there are kernels for a tensor like this one, and they are not slower than
    /// libtorch's.</summary>
    public static bool Serve(Tensor tensor) =>
        Enabled && Gemm.IsAvailable && tensor.device_type == DeviceType.CPU && tensor.dtype switch
        {
            ScalarType.Float32 or ScalarType.Float16 or ScalarType.Float64 => true,
            ScalarType.BFloat16 => Gemm.HasFastBFloat16 || !ProcessorHasBFloat16,
            _ => false,
        };

    /// <summary>Whether the loops over rows (norm, SwiGLU, rotary) serve a tensor: they know float32 and
    /// bfloat16.</summary>
    public static bool ServeRows(Tensor tensor) =>
        Enabled && tensor.device_type == DeviceType.CPU && tensor.dtype is ScalarType.Float32 or ScalarType.BFloat16
        && tensor.numel() > 0;

    private static bool FindBFloat16()
    {
        if (!X86Base.IsSupported || X86Base.CpuId(0, 0).Eax < 7)
            return false;
        var (most, _, _, flags) = X86Base.CpuId(7, 0);
        var amx = (flags & 1 << 22) != 0;
        var avx = most >= 1 && (X86Base.CpuId(7, 1).Eax & 1 << 5) != 0;
        return amx || (avx && Avx512F.IsSupported);
    }
}

/// <summary>Operations that cost less as one than composed, with gradients of their own. On the CPU they run over the
/// tensors' memory; on other devices, and for types without a kernel, they are composed of TorchSharp's.</summary>
public static partial class Fused
{
}
