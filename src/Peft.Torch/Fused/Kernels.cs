namespace Peft.Torch;

/// <summary>Where a fused operation runs over memory itself.</summary>
internal static class Kernels
{
    /// <summary>False: everything is composed of libtorch's operations, as on a GPU. For tests and benchmarks.</summary>
    public static bool Enabled { get; set; } = true;
}
