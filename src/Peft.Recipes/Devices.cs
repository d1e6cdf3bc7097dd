using System.Globalization;
using Peft.Formats;
using Peft.Models.Loading;

namespace Peft.Recipes;

/// <summary>The device that a command line names.</summary>
public static class Devices
{
    /// <summary>auto takes the first GPU where there is one; otherwise cpu or cuda:N.</summary>
    /// <exception cref="UserException">The name is not a device, or this machine or libtorch has none of
    /// it.</exception>
    public static Device Choose(string name)
    {
        TorchRuntime.Start();
        var gpus = torch.cuda.is_available() ? torch.cuda.device_count() : 0;
        switch (name)
        {
            case "auto":
                return gpus > 0 ? torch.device("cuda:0") : torch.CPU;
            case "cpu":
                return torch.CPU;
            case "cuda":
                return Choose("cuda:0");
        }
        if (!name.StartsWith("cuda:", StringComparison.Ordinal)
            || !int.TryParse(name["cuda:".Length..], NumberStyles.None, CultureInfo.InvariantCulture, out var index))
            throw UserException.At("--device", Quote.Of(name), "auto, cpu or cuda:N");
        if (gpus == 0)
            throw UserException.At(
                $"--device {name}", $"no CUDA device is usable here (libtorch {torch.__version__})", null,
                "use --device cpu, or a libtorch for CUDA: make build CUDA=12.8, or LIBTORCH=/path");
        if (index >= gpus)
            throw UserException.At("--device", name, gpus == 1 ? "cuda:0, the only one" : $"cuda:0 to cuda:{gpus - 1}");
        return torch.device(name);
    }
}

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
