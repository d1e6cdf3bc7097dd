using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>What one module's routing did in one pass, over its real tokens.</summary>
/// <param name="Module">Path of the wrapped projection.</param>
/// <param name="Load">Share of the gate weight each expert got; sums to 1.</param>
/// <param name="MeanProbability">Mean of the router's distribution; empty where a router has none.</param>
/// <param name="Entropy">Mean entropy of a token's distribution, in nats; null where a router has none.</param>
/// <param name="EffectiveSupport">Mean of ‖g‖₁² / ‖g‖₂² of a token's gates: how many experts it uses, weights
/// considered.</param>
/// <param name="ExpertsPerToken">Mean number of open gates.</param>
/// <param name="DeadExperts">Experts that no token used.</param>
public sealed record RoutingStatistics(
    string Module, IReadOnlyList<double> Load, IReadOnlyList<double> MeanProbability, double? Entropy,
    double EffectiveSupport,
    double ExpertsPerToken, int DeadExperts)
{
    private const double Tiny = 1e-20;

    /// <summary>How many experts the load is spread over: ‖load‖₁² / ‖load‖₂², from 1 (all on one) to E.</summary>
    public double LoadSupport => Load.Sum() * Load.Sum() / Math.Max(Tiny, Load.Sum(share => share * share));

    /// <summary>Whether a learned router of several experts sends almost everything to one of them.</summary>
    public bool IsCollapsed => Load.Count > 1 && Entropy is not null && LoadSupport < CollapseBound(Load.Count);

    /// <summary>The load support below which routing among so many experts counts as collapsed: a tenth of the way from
    /// 1 to E.</summary>
    public static double CollapseBound(int experts) => 1 + 0.1 * (experts - 1);

    /// <summary>The statistics of every routed module of a pass; empty without routing.</summary>
    /// <remarks>Source: effective support size, ReMix, arXiv:2603.10160. Shapes: records [N, E], mask [B, T] bool or
    /// null. Gradient: none.</remarks>
    public static IReadOnlyList<RoutingStatistics> Of(ForwardPass pass, Tensor? mask)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var real = mask?.reshape(-1, 1).to(torch.float32);                                     // [N, 1]
        return [.. pass.Records<RoutingRecord>().Select(record => Of(record, real, pass.Share))];
    }

    private static RoutingStatistics Of(RoutingRecord record, Tensor? real, BatchShare? share)
    {
        var gates = record.Decision.Gates.detach().abs();                                      // [N, E]
        if (real is not null)
            gates = gates * real;
        var count = real is null ? torch.tensor((double)gates.shape[0], device: gates.device) : real.sum();
        var tokens = Math.Max(1, Sum(count));
        var sums = Numbers(gates.sum(0L));
        var total = Math.Max(Tiny, sums.Sum());
        var squares = (gates * gates).sum(-1L);                                                // [N]
        var norms = gates.sum(-1L);
        var support = norms * norms / squares.clamp(min: Tiny);
        var selected = record.Decision.Selected.to(torch.float32);
        if (real is not null)
            selected = selected * real;
        var used = Numbers(selected.sum(0L));
        var probabilities = record.Decision.Probabilities?.detach();
        if (probabilities is not null && real is not null)
            probabilities = probabilities * real;
        return new(
            record.Module,
            [.. sums.Select(sum => sum / total)],
            probabilities is null ? [] : [.. Numbers(probabilities.sum(0L)).Select(sum => sum / tokens)],
            probabilities is null
                ? null
                : -Sum((probabilities * probabilities.clamp(min: Tiny).log()).sum()) / tokens,
            Sum(support.sum()) / tokens,
            used.Sum() / tokens,
            used.Count(count => count == 0));

        // One type, whichever of the ranks have padding.
        Tensor OfAll(Tensor part) => share?.Sum(part.to(torch.float64)) ?? part;

        double Sum(Tensor part) => OfAll(part).ToDouble();

        double[] Numbers(Tensor part) =>
            [.. OfAll(part).to(torch.float32).Values<float>().Select(v => (double)v)];
    }
}

/// <summary>How much of the gate weight each expert got.</summary>
public static class ExpertLoad
{
    /// <summary>Share of each expert, averaged over real tokens, then over the modules with the same number of experts
    /// as the first; empty without routing. Sums to 1 where any gate is open.</summary>
    /// <remarks>Shapes: records [N, E], mask [B, T] bool or null. Gradient: none.</remarks>
    public static IReadOnlyList<double> Of(ForwardPass pass, Tensor? mask)
    {
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
            var gates = record.Decision.Gates.detach().abs();                                // [N, E]
            var sums = (keep is null ? gates : gates * keep).sum(0L);                        // [E]
            total = total is null ? sums : total + sums;
        }
        total = pass.Share?.Sum(total!) ?? total;
        var load = (total! / total!.sum()).to(torch.float32).Values<float>();
        return [.. load.Select(share => (double)share)];
    }
}
