using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>How much of the gate weight each expert got.</summary>
public static class ExpertLoad
{
    /// <summary>Share of each expert, averaged over real tokens, then over the modules with the same number of experts
    /// as the first; empty without routing. Sums to 1 where any gate is open.</summary>
    /// <remarks>Shapes: records [N, E], mask [B, T] bool or null. Gradient: none.</remarks>
    public static IReadOnlyList<double> Of(ForwardPass pass, Tensor? mask)
    {
        ArgumentNullException.ThrowIfNull(pass);
        var records = pass.Records<RoutingRecord>();
        if (records.Count == 0)
            return [];
        using var scope = torch.NewDisposeScope();
        using var frozen = torch.no_grad();
        var experts = records[0].Experts;
        var keep = mask?.reshape(-1, 1).to(torch.float32);                                   // [N, 1]
        Tensor? total = null;
        foreach (var record in records.Where(r => r.Experts == experts))
        {
            var gates = record.Decision.Gates.detach();                                      // [N, E]
            var sums = (keep is null ? gates : gates * keep).sum(0L);                        // [E]
            total = total is null ? sums : total + sums;
        }
        var load = (total! / total!.sum()).to(torch.float32).data<float>().ToArray();
        return [.. load.Select(share => (double)share)];
    }
}
