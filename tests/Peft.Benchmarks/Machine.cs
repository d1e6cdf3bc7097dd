using Peft.Recipes;

namespace Peft.Benchmarks;

/// <summary>What the numbers were measured on.</summary>
internal sealed record Machine(
    string Processor, int Cores, int Threads, string InstructionSets, string Libtorch, string Mkl)
{
    /// <summary>This machine, as the running program sees it.</summary>
    public static Machine Describe()
    {
        var model = File.Exists("/proc/cpuinfo")
            ? File.ReadLines("/proc/cpuinfo")
            .FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':', 2)[1].Trim()
            : null;
        return new(
            model ?? "unknown processor", Environment.ProcessorCount, torch.get_num_threads(),
            string.Join(' ', MachineTypes.InstructionSets), TorchRuntime.Version,
            TorchRuntime.Describe().First(line => line.Name == "MKL").Found);
    }

    /// <inheritdoc/>
    public override string ToString() =>
        $"{Processor}, {Cores} cores, {Threads} threads, {InstructionSets}; libtorch {Libtorch}\n         MKL: {Mkl}";
}
