using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;

namespace Peft.Adapters.Merging;

/// <summary>How far a collapsed projection is from the routed one.</summary>
/// <param name="Path">The projection.</param>
/// <param name="GateError">‖added by constant gates − added by the router‖ / ‖added by the router‖ over a text; 0 where
/// gates are constant.</param>
/// <param name="RankError">Relative Frobenius error of the reduced rank; 0 for <c>cat</c>.</param>
/// <param name="Energy">Share of the squared norm that is kept.</param>
public sealed record CollapseLoss(string Path, double GateError, double RankError, double Energy);

/// <summary>One plain LoRA in place of a mixture: the experts summed with constant gates.</summary>
/// <remarks>Source: <c>Σ g_e s B_e A_e</c>; <c>cat</c> stacks A and puts g s B side by side, which is exact for those
/// gates.</remarks>
public static class GateCollapse
{
    /// <summary>Exact, with the ranks added up.</summary>
    public const string Cat = "cat";

    /// <summary>The best approximation of a given rank.</summary>
    public const string Svd = "svd";

    /// <summary>The gates of each projection where every router's are constant; null where one follows the
    /// input.</summary>
    /// <remarks>Shapes: [E] or [R] a projection; [1] without a router.</remarks>
    public static IReadOnlyDictionary<string, Tensor>? ConstantGates(AdaptedModel adapted)
    {
        var gates = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        foreach (var module in adapted.Modules)
        {
            if ((module.Router is null ? torch.ones([1], torch.float32) : module.Router.ConstantGates()) is not
                {
                } constant)
                return null;
            gates[module.Path] = constant;
        }
        return gates;
    }

    /// <summary>The gates' means over a text, as the model routes it.</summary>
    /// <remarks>Shapes: ids [1, T]; → [E] or [R] a projection.</remarks>
    public static IReadOnlyDictionary<string, Tensor> MeanGates(AdapterProbe probe, Tensor ids)
    {
        var gates = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        probe.Logits(ids, call =>
        {
            var output = call.Adapted();
            gates[call.Module.Path] = (call.Gates()?.mean([0]) ?? torch.ones([1], torch.float32))
                .DetachFromDisposeScope();
            return output;
        });
        foreach (var gate in gates.Values)
            Scopes.Current?.Attach(gate);
        return gates;
    }

    /// <summary>What constant gates lose on a text, projection by projection, each on the routed model's own
    /// input.</summary>
    public static IReadOnlyDictionary<string, double> GateErrors(
        AdapterProbe probe, Tensor ids, IReadOnlyDictionary<string, Tensor> gates)
    {
        var errors = new Dictionary<string, double>(StringComparer.Ordinal);
        probe.Logits(ids, call =>
        {
            var output = call.Adapted();
            var routed = call.Gates() is { } own ? call.Added(own) : null;
            errors[call.Module.Path] = routed is null
                ? 0
                : Relative(call.Added(gates[call.Module.Path]) - routed, routed);
            return output;
        });
        return errors;
    }

    /// <summary>The collapsed LoRA; its scale is 1 everywhere, gates and scale being part of B.</summary>
    /// <param name="adapted">The mixture.</param>
    /// <param name="baseName">The base model's name.</param>
    /// <param name="gates">The gates of each projection.</param>
    /// <param name="rank">The rank to reduce to; null for <see cref="Cat"/>.</param>
    /// <param name="losses">What the reduced rank loses is added here.</param>
    public static PeftAdapter Collapse(
        AdaptedModel adapted, string baseName, IReadOnlyDictionary<string, Tensor> gates, int? rank,
        ICollection<CollapseLoss> losses)
    {
        var modules = new List<PeftModule>();
        foreach (var module in adapted.Modules)
        {
            var (collapsed, loss) = Collapse(module, gates[module.Path], rank);
            modules.Add(collapsed);
            losses.Add(loss);
        }
        return new PeftAdapter(ConfigOf(adapted, baseName, modules), modules);
    }

    private static (PeftModule Module, CollapseLoss Loss) Collapse(MixtureProjection module, Tensor gates, int? rank)
    {
        using var off = torch.no_grad();
        var (down, up) = module.Collapsed(gates);
        if (rank is not { } reduced)
            return (new(module.Path, down, up), new(module.Path, 0, 0, 1));
        using var scope = torch.NewDisposeScope();
        var update = new LowRankUpdate(down, up);
        var cut = LowRank.Truncate(update, reduced);
        var (error, energy) = Lost(LowRank.Svd(update).S.Values<double>(), reduced);
        return (
            new(module.Path, cut.Down.contiguous().MoveToOuterDisposeScope(), cut.Up.contiguous()
                .MoveToOuterDisposeScope()),
            new(module.Path, 0, error, energy));
    }

    // ‖B A − its approximation‖ / ‖B A‖ in the Frobenius norm, and the share of the squared norm that is kept.
    private static (double Error, double Energy) Lost(double[] values, int rank)
    {
        var squares = values.Select(value => value * value).ToArray();
        var all = squares.Sum();
        return all == 0 ? (0, 1) : (Math.Sqrt(squares.Skip(rank).Sum() / all), squares.Take(rank).Sum() / all);
    }

    private static Peft.Formats.HuggingFace.LoraAdapterConfig ConfigOf(
        AdaptedModel adapted, string baseName, List<PeftModule> modules)
    {
        var ranks = modules.Select(module => (module.Path, Rank: (int)module.Down.shape[0])).ToList();
        var usual = ranks.GroupBy(module => module.Rank).OrderByDescending(group => group.Count())
            .ThenBy(group => group.Key).First().Key;
        var others = ranks.Where(module => module.Rank != usual).ToList();
        return PeftConfig.ToLora(adapted, baseName) with
        {
            R = usual,
            LoraAlpha = usual,
            UseRslora = false,
            InitLoraWeights = "true",
            RankPattern = [.. others.Select(module => KeyValuePair.Create(module.Path, module.Rank))],
            AlphaPattern = [.. others.Select(module => KeyValuePair.Create(module.Path, (double)module.Rank))],
        };
    }

    private static double Relative(Tensor difference, Tensor reference)
    {
        var size = reference.norm().ToDouble();
        return size == 0 ? 0 : difference.norm().ToDouble() / size;
    }
}
