using System.Globalization;
using Peft.Formats;

namespace Peft.Recipes;

/// <summary>The device that a command line names.</summary>
public static class Devices
{
    /// <summary>auto takes the first GPU where there is one; otherwise cpu or cuda:N.</summary>
    /// <exception cref="UserException">The name is not a device, or this machine or libtorch has none of it.</exception>
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
            throw new UserException($"--device {name}: must be auto, cpu or cuda:N");
        if (gpus == 0)
            throw new UserException(
                $"--device {name}: no CUDA device is usable here (libtorch {torch.__version__}) - use --device cpu, or a libtorch for CUDA: make build CUDA=12.8, or LIBTORCH=/path");
        if (index >= gpus)
            throw new UserException($"--device {name}: there are {gpus}, cuda:0 to cuda:{gpus - 1}");
        return torch.device(name);
    }
}
