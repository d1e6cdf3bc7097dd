using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="ChainRouter"/>.</summary>
public sealed record ChainRouterOptions : ExpertRouterOptions
{
    private const int EachByDefault = 2;

    /// <summary>Every iteration is balanced.</summary>
    public ChainRouterOptions() => Balance = new BalanceOptions { Kind = BalanceOptions.Switch };

    /// <summary>How often the experts work for each token (C).</summary>
    /// <value>Default 2; from 1.</value>
    [Key(Min = 1, Max = 64)]
    public int Iterations { get; init; } = 2;

    /// <summary>Experts each token is sent to in all iterations together (K).</summary>
    /// <value>Default two an iteration; a multiple of the iterations, up to all experts in each.</value>
    [Key(Min = 1)]
    public int TopK { get; init; } = 2 * EachByDefault;

    /// <summary>Whether each iteration has a router of its own, which looks at what the one before gave.</summary>
    /// <value>Default true; with false the first iteration's gates serve all, which the paper found worse.</value>
    [Key]
    public bool RouterPerIteration { get; init; } = true;

    /// <inheritdoc/>
    public override bool NeedsSquare => true;

    /// <inheritdoc/>
    public override IEnumerable<IneffectiveKey> Ineffective() =>
    [
        .. base.Ineffective(),
        .. IneffectiveKey.If(Iterations == 1, "router_per_iteration", RouterPerIteration, true, "iterations: 1"),
    ];

    /// <inheritdoc/>
    protected override RouterOptions FirstValues(OptionReader reader, RouterSize size) =>
        this with { TopK = reader.Bind(this).Iterations * Math.Min(EachByDefault, size.Experts) };

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        base.Check(reader, size);
        if (TopK % Iterations != 0)
            reader.Fault(
                "iterations", $"{Iterations} with top_k: {TopK}", "a divisor of top_k",
                "all iterations together have top_k experts");
        else if (TopK / Iterations > size.Experts)
            reader.Fault(
                "top_k", $"{TopK} in {Words.Count(Iterations, "iteration")}",
                $"at most {(long)Iterations * size.Experts}, which are all {size.Experts} experts each time");
    }
}

/// <summary>Sends each token to its K / C best experts C times, each time by what the experts made of it
/// before.</summary>
/// <remarks>
/// Source: Chain-of-Experts, arXiv:2506.18945, eq. 4 to 7: <c>x⁰ = x</c>, <c>xᵗ = Σ_i g_{t,i} E_i(xᵗ⁻¹) + xᵗ⁻¹</c>,
/// <c>g_{t,i} = softmax(R_t xᵗ⁻¹)_i</c> where it is among the K / C largest: raw weights, a router for each iteration,
/// the same experts in all. There experts are feed-forward layers; with LoRA's <c>E_i = s B_i A_i</c> beside a square
/// projection, which is our reading, the projection gives <c>W x + x^C − x</c>. Without the inner residual connection,
/// an ablation of the paper, experts whose B begins at zero would never learn, so it stays.
/// Shapes: x [N, D] → gates [N, E] with K / C above zero in every row.
/// Units: gates are probabilities.
/// Gradient: through the kept probabilities and through what the experts of earlier iterations gave; the choice carries
/// none.
/// </remarks>
public sealed class ChainRouter : Router, IChained, IRewirable
{
    private readonly ChainRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public ChainRouter(ChainRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        var routers = options.RouterPerIteration ? options.Iterations : 1;
        // R_t of every iteration, stacked.
        _weight = Take("weight", [(long)routers * context.Experts, context.Width], weight =>
        {
            using var random = Seeds.GeneratorFor(context.Seed, $"{context.Path}.router.weight");
            Seeded.kaiming_uniform_(weight, Math.Sqrt(5), random);
        });
        register_parameter("weight", _weight);
    }

    /// <inheritdoc/>
    public int Iterations => _options.Iterations;

    /// <inheritdoc/>
    public Tensor? LogitOffset { get; set; }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass) => Decide(x, 0);

    /// <inheritdoc/>
    public RoutingDecision RouteAgain(Tensor state, int iteration, RoutingDecision before) =>
        _options.RouterPerIteration ? Decide(state, iteration) : before;

    private RoutingDecision Decide(Tensor state, int iteration)
    {
        var weight = _weight.narrow(0, (long)iteration * Context.Experts, Context.Experts);
        var k = _options.TopK / _options.Iterations;
        if (LogitOffset is null)
        {
            var (gates, chosen, p, given) = Fused.topk_softmax(state, weight, new(k, false));
            return new RoutingDecision(gates, chosen, p, given);
        }

        var (logits, probabilities) = Softmax(state, weight, LogitOffset);
        var selected = Selection.TopMask(probabilities, k);
        return new RoutingDecision(
            Selection.Gates(probabilities, selected, normalize: false), selected, probabilities, logits);
    }
}
