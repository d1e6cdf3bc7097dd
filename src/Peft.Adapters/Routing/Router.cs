using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Decides for every token how much of each expert it gets.</summary>
public abstract class Router : Layer
{
    /// <summary>Makes the router of one projection.</summary>
    protected Router(RouterContext context)
        : base("router")
    {
        ArgumentNullException.ThrowIfNull(context);
        Context = context;
    }

    /// <summary>What this router was made for.</summary>
    public RouterContext Context { get; }

    /// <summary>Decides for the tokens of one projection's input.</summary>
    /// <remarks>
    /// Shapes: x [N, D] or [B, T, D], any floating type; the decision is [N, E] with N = B·T, float32.
    /// Gradient: reaches the router and x through Gates; never through Selected.
    /// </remarks>
    public abstract RoutingDecision Route(Tensor x, ForwardPass pass);

    /// <summary>The gates where they are the same for every token of every text, as the router stands; null where they are not.</summary>
    /// <remarks>Shapes: [E], [R] where ranks are routed. Gradient: none.</remarks>
    public virtual Tensor? ConstantGates() => null;

    /// <summary>Makes and registers a gate matrix: no bias, float32, Kaiming uniform with a = sqrt 5.</summary>
    /// <remarks>Shapes: [E, D].</remarks>
    protected Parameter NewGate(string name = "weight")
    {
        using var scope = torch.NewDisposeScope();
        var weight = torch.zeros([Context.Experts, Context.Width], torch.float32);
        using (torch.no_grad())
            Seeded.kaiming_uniform_(weight, Math.Sqrt(5), Seeds.GeneratorFor(Context.Seed, $"{Context.Path}.router.{name}"));
        var gate = weight.ToParameter();
        register_parameter(name, gate);
        return gate;
    }

    /// <summary>The scores of every expert, in float32 whatever the model computes in.</summary>
    /// <remarks>Shapes: x [.., D], gate [E, D] → [N, E].</remarks>
    protected static Tensor Score(Tensor x, Tensor gate)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(gate);
        return torch.nn.functional.linear(x.reshape(-1, gate.shape[1]).to(torch.float32), gate);
    }
}
