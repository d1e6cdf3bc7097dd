using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of a router that merging fills, so that adapters trained apart become its experts.</summary>
public interface IMergedRouterOptions
{
    /// <summary>Experts each token is sent to, in each module.</summary>
    int TopK { get; }
}

/// <summary>A router that merging fills.</summary>
/// <remarks><c>present</c> [E] bool says which experts adapt this projection at all: the others are never
/// chosen.</remarks>
public abstract class MergedRouter : Router
{
    /// <summary>Name of the buffer that tells which experts adapt the projection.</summary>
    public const string PresentName = "present";

    /// <summary>Makes the router of one projection.</summary>
    protected MergedRouter(RouterContext context)
        : base(context)
    {
        Present = NewBuffer(PresentName, torch.ones([context.Experts], torch.@bool));
    }

    /// <summary>Which experts adapt the projection.</summary>
    /// <remarks>Shapes: [E] bool.</remarks>
    protected Tensor Present { get; }
}

/// <summary>Settings of the routers that compare a token with one vector an expert.</summary>
public abstract record PrototypeRouterOptions : ExpertRouterOptions, IMergedRouterOptions
{
    /// <summary>Experts each token is sent to, in each module.</summary>
    /// <value>Default 2; from 1 to the number of experts.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public int TopK { get; init; } = 2;

    /// <summary>Divisor of the scores before the softmax; above 1 the kept experts share more evenly.</summary>
    /// <value>Default 1; above 0.</value>
    [Key(Min = 1e-6)]
    public double Temperature { get; init; } = 1;

    /// <inheritdoc/>
    internal override int FewestChosen(int experts) => TopK;
}

/// <summary>Sends each token to the experts whose vector it resembles most. Merging fills the vectors; training may go
/// on from there.</summary>
/// <remarks>
/// Shapes: x [N, D] or [B, T, D] → gates [N, E] with at most K above zero in every row. The vectors are <c>weight</c>
/// [E, D].
/// Units: gates are probabilities over all experts, divided by the sum of the kept ones.
/// Gradient: reaches the vectors and x through the kept probabilities; the choice carries none.
/// </remarks>
public abstract class PrototypeRouter : MergedRouter
{
    /// <summary>Name of the vectors in bundles.</summary>
    public const string VectorsName = "weight";

    private readonly PrototypeRouterOptions _options;

    /// <summary>Makes the router of one projection.</summary>
    protected PrototypeRouter(PrototypeRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        Vectors = NewGate(VectorsName);
    }

    /// <summary>One vector an expert.</summary>
    /// <remarks>Shapes: [E, D] float32.</remarks>
    protected Parameter Vectors { get; }

    /// <summary>How a token is compared with the vectors.</summary>
    protected abstract RouterScore Comparison { get; }

    /// <summary>What joins the divisor of the kept probabilities.</summary>
    protected virtual double Epsilon => 0;

    /// <summary>The vectors as tokens are compared with them.</summary>
    /// <remarks>Shapes: [E, D] float32. Gradient: to <see cref="Vectors"/>.</remarks>
    protected virtual Tensor Compared => Vectors;

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var (gates, selected, probabilities, logits) = Fused.topk_softmax(
            x, Compared, new(_options.TopK, Normalize: true, Comparison, _options.Temperature, Epsilon), Present);
        return new RoutingDecision(gates, selected, probabilities, logits);
    }
}
