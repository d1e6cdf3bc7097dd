using Peft.Adapters.Bundles;
using Peft.Formats;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Merging;

/// <summary>One adapter in one module: sizes, scale, and where the tensors lie.</summary>
/// <param name="Path">The module's path.</param>
/// <param name="Out">Output width.</param>
/// <param name="In">Input width.</param>
/// <param name="Rank">Its rank.</param>
/// <param name="Scale">Factor on B A.</param>
/// <param name="DownEntry">A, or A of all experts stacked.</param>
/// <param name="UpEntry">B, or B of all experts side by side.</param>
/// <param name="First">Its first row of A and column of B.</param>
public sealed record ModuleSource(
    string Path, long Out, long In, int Rank, double Scale, SafetensorsEntry DownEntry, SafetensorsEntry UpEntry, int First)
{
    /// <summary>Reads A and B; null and a fault where they hold no finite numbers.</summary>
    /// <remarks>Shapes: A [R, D], B [O, R] float32.</remarks>
    public LowRankUpdate? Read(Faults faults)
    {
        var down = BundleTensors.Read(faults, DownEntry, all => all.narrow(0, First, Rank));
        var up = BundleTensors.Read(faults, UpEntry, all => all.narrow(1, First, Rank));
        return down is null || up is null ? null : new LowRankUpdate(down.to(torch.float32), up.to(torch.float32));
    }

    /// <summary>The rank without trailing zeros of a wider neighbour's padding.</summary>
    public int UsedRank(Faults faults)
    {
        using var scope = torch.NewDisposeScope();
        if (Read(faults) is not { } update)
            return Rank;
        var used = update.Down.abs().amax(1L).gt(0).logical_or(update.Up.abs().amax(0L).gt(0)).to(torch.float32).data<float>().ToArray();
        return Math.Max(1, Array.FindLastIndex(used, value => value != 0) + 1);
    }
}
