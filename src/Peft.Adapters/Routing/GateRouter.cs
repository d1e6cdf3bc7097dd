using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="GateRouter"/>: only the balance loss.</summary>
public sealed record GateRouterOptions : ExpertRouterOptions
{
    /// <inheritdoc/>
    internal override string WhyNoProbabilities => "kind: gate";
}

/// <summary>A sigmoid gate on each expert by itself; <c>peft gate</c> trains it on one frozen adapter.</summary>
/// <remarks>
/// Source: PHATGOOSE, arXiv:2402.05859; r-three/phatgoose, moe.py (<c>only_sigmoid</c>): <c>y = W u + σ(v · u) B A u ·
/// scale</c>, v zero at first, so that every gate begins at 0.5.
/// Shapes: x [N, D] → gates [N, E].
/// Units: gates are from 0 to 1 and do not sum to 1.
/// Gradient: reaches v and x through the gates.
/// </remarks>
public sealed class GateRouter : Router
{
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public GateRouter(GateRouterOptions options, RouterContext context)
        : base(context)
    {
        _weight = Take(PrototypeRouter.VectorsName, [context.Experts, context.Width], _ => { });
        register_parameter(PrototypeRouter.VectorsName, _weight);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var logits = Score(x, _weight);
        var gates = logits.sigmoid();
        return RoutingDecision.OfAll(gates, logits: logits);
    }
}
