using System.Globalization;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="SmoraRouter"/>.</summary>
public sealed record SmoraRouterOptions : RouterOptions
{
    private const int Share = 8;

    /// <summary>Ranks that work for each token.</summary>
    /// <value>Default an eighth of r (8 of 64 in the code), at least 2; from 1 to r. With 1 every gate is the same, so
    /// the router learns nothing.</value>
    [Key(Min = 1), UpTo(Limit.Ranks)]
    public int TopK { get; init; } = 8;

    /// <summary>Neighbouring ranks that share a score.</summary>
    /// <value>Default 1; a divisor of r.</value>
    [Key(Min = 1), UpTo(Limit.Ranks)]
    public int RankPartition { get; init; } = 1;

    /// <summary>Whether the bias is part of the weight, not of the choice alone.</summary>
    /// <value>Default true, as in the code; the paper's formula was not to be had.</value>
    [Key]
    public bool BiasInGate { get; init; } = true;

    /// <summary>Step of the bias that evens out the use of the ranks after each training step.</summary>
    /// <value>Default 0.00001; 0 leaves the bias at zero.</value>
    [Key(Min = 0)]
    public double BiasRate { get; init; } = 1e-5;

    /// <inheritdoc/>
    public override bool RoutesRanks => true;

    /// <inheritdoc/>
    protected override RouterOptions FirstValues(OptionReader reader, RouterSize size) =>
        this with { TopK = Math.Max(2, size.Rank / Share) };

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        if (size.Rank % RankPartition != 0)
            reader.Fault(
                "rank_partition", RankPartition.ToString(CultureInfo.InvariantCulture),
                $"a divisor of r = {size.Rank}");
    }
}

/// <summary>Lets the best ranks of one adapter work, each weighted by a learned score.</summary>
/// <remarks>
/// Source: SMoRA, arXiv:2501.15103; StyxXuan/smora srmole/layer.py: <c>s = σ(R x) + d</c>, top k ranks, <c>y = W x +
/// (alpha / k) Σ g_j b_j (a_j · x)</c> with <c>g_j = k s_j / Σ s</c> over the chosen, and <c>d ← d + u · sign(mean
/// count − count)</c>. Here d moves once a step, by the load of the whole step (the code moves it at each forward), and
/// the router sees x before dropout. The scale alpha / r stays outside, so gates are <c>r s_j / Σ s</c>.
/// Shapes: x [N, D] → gates [N, R], K of them above zero; Probabilities are σ(R x) over its sum.
/// Gradient: through the scores of the chosen; neither choice nor bias carries one.
/// </remarks>
public sealed class SmoraRouter : Router, ILoadBalanced
{
    private readonly SmoraRouterOptions _options;
    private readonly Parameter _weight;
    private readonly Tensor _bias;

    /// <summary>Makes the router of one projection.</summary>
    /// <exception cref="UserException">The rank of this projection is no multiple of the partition.</exception>
    public SmoraRouter(SmoraRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        if (context.Rank % options.RankPartition != 0 || options.TopK > context.Rank)
            throw UserException.At(
                context.Path, $"rank {context.Rank} (adapter.rank_pattern)",
                $"at least top_k = {options.TopK} ranks, and a multiple of rank_partition = {options.RankPartition}");
        var rows = context.Rank / options.RankPartition;
        _weight = Take("weight", [rows, context.Width], weight =>
        {
            using var random = Seeds.GeneratorFor(context.Seed, $"{context.Path}.router.weight");
            Seeded.kaiming_uniform_(weight, Math.Sqrt(5), random);
        });
        register_parameter("weight", _weight);
        _bias = NewBuffer(SelectionBias.Name, torch.zeros([context.Rank], torch.float32));
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var logits = Score(x, _weight);
        if (_options.RankPartition > 1)
            logits = logits.repeat_interleave(_options.RankPartition, 1);                      // [N, R]
        var scores = logits.sigmoid();
        var biased = scores + _bias;
        var selected = Selection.TopMask(biased.detach(), _options.TopK);
        var gates = Selection.Gates(_options.BiasInGate ? biased : scores, selected, normalize: true) * Context.Rank;
        return new RoutingDecision(gates, selected, scores / scores.sum(-1, keepdim: true), logits);
    }

    /// <inheritdoc/>
    public void Balance(StepLoad load) => SelectionBias.Update(_bias, load.Counts, _options.BiasRate);
}
