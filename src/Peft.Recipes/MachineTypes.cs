using Peft.Models.Loading;

namespace Peft.Recipes;

/// <summary>Which number types this machine computes fast.</summary>
public static class MachineTypes
{
    private static readonly Lazy<IReadOnlySet<string>> CpuFlags = new(ReadCpuFlags);

    /// <summary>Instruction sets of the processor that matter here, as Linux names them.</summary>
    public static IReadOnlyList<string> InstructionSets { get; } =
        [.. new[] { "avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16" }.Where(flag => CpuFlags.Value.Contains(flag))];

    /// <summary>Whether half-precision GEMM runs at least as fast as float32 on the device.</summary>
    public static bool IsFast(ScalarType dtype, Device device) => dtype switch
    {
        ScalarType.BFloat16 => device.type == DeviceType.CUDA
            || CpuFlags.Value.Contains("avx512_bf16") || CpuFlags.Value.Contains("amx_bf16"),
        ScalarType.Float16 => device.type == DeviceType.CUDA,
        _ => true,
    };

    /// <summary>The type for a recipe's <c>dtype</c>: what it says, or for auto the file's type where it is fast here,
    /// else float32.</summary>
    public static ScalarType Choose(string dtype, ScalarType ofFile, Device device) => dtype switch
    {
        "auto" => IsFast(ofFile, device) ? ofFile : ScalarType.Float32,
        _ => DtypeNames.Parse(dtype),
    };

    private static HashSet<string> ReadCpuFlags()
    {
        const string CpuInfo = "/proc/cpuinfo";
        if (!File.Exists(CpuInfo))
            return [];
        var line = File.ReadLines(CpuInfo).FirstOrDefault(l => l.StartsWith("flags", StringComparison.Ordinal)) ?? "";
        return [.. line[(line.IndexOf(':') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries)];
    }
}
