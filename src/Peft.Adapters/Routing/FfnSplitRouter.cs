using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="FfnSplitRouter"/>.</summary>
public sealed record FfnSplitRouterOptions : ExpertRouterOptions
{
    /// <summary>Slices that a feed-forward is cut into.</summary>
    /// <value>Default 4; from 2; a divisor of the inner width.</value>
    [Key(Min = 2, Max = 4096)]
    public int Count { get; init; } = 4;

    /// <summary>Slices each token goes through.</summary>
    /// <value>Default 0: all of them, which at first gives what the base gives. Fewer lose something from the
    /// beginning, whatever their weights.</value>
    [Key(Min = 0)]
    public int TopK { get; init; }

    /// <summary>Deviation of the gate matrix at first.</summary>
    /// <value>Default 0: all slices weigh alike. From 0; above 0 where top_k chooses among them.</value>
    [Key(Min = 0)]
    public double InitStd { get; init; }

    /// <inheritdoc/>
    public override int? Slices => Count;

    /// <summary>Slices each token goes through.</summary>
    internal int Kept => TopK == 0 ? Count : TopK;

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        base.Check(reader, size);
        if (TopK > Count)
            reader.Fault("top_k", $"{TopK}", $"at most the {Count} slices that count says, or 0 for all");
        if (Kept < Count && InitStd == 0)
            reader.Fault(
                "init_std", $"0 with top_k: {TopK}", "above 0, such as 0.02",
                "with weights alike the first slices would always be chosen");
    }
}

/// <summary>Cuts the frozen feed-forward into slices of its inner numbers and weighs them for each token; the slices
/// add up to the whole where all weigh alike.</summary>
/// <remarks>
/// Source: the identity behind FactorLLM, arXiv:2408.11855, and Innovator, arXiv:2507.18671: rows of gate and up and
/// columns of down, cut alike, give <c>Σ_e FFN_e(x) = FFN(x)</c>. Weights <c>E p_e / Σ_kept p</c>, <c>p = softmax(R
/// x)</c>, R zero at first, so that each is 1 where all are kept. The LoRA of gate, up and down is cut with them. The
/// weights are our choice: the sources leave them open or have none.
/// Shapes: x [N, D] → gates [N, E], E the number of slices.
/// Gradient: through the kept probabilities.
/// </remarks>
public sealed class FfnSplitRouter : Router
{
    private readonly FfnSplitRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one feed-forward.</summary>
    public FfnSplitRouter(FfnSplitRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewNormalGate(options.InitStd);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var (gates, selected, probabilities, logits) = Fused.topk_softmax(
            x, _weight, new(_options.Kept, Normalize: true));
        return new(gates * _options.Count, selected, probabilities, logits) { WeighsSlices = true };
    }

    /// <summary>Slices of a feed-forward's inner numbers, each times its weight.</summary>
    /// <remarks>Shapes: x [.., F], gates [N, E] → [.., F].</remarks>
    internal static Tensor Weighed(Tensor x, Tensor gates)
    {
        var slices = gates.shape[^1];
        return (x.reshape(-1, slices, x.shape[^1] / slices) * gates.to(x.dtype).unsqueeze(-1)).reshape(x.shape);
    }
}
