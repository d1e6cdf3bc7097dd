using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="TopPRouter"/>.</summary>
public sealed record TopPRouterOptions : ExpertRouterOptions
{
    /// <summary>The defaults are the code's, its balance loss among them.</summary>
    public TopPRouterOptions() => Balance = new BalanceOptions { Kind = BalanceOptions.Switch, Coefficient = 0.01 };

    /// <summary>Probability that the kept experts exceed together.</summary>
    /// <value>Default 0.4 (the code's); above 0, below 1.</value>
    [Key(Min = 1e-6, Max = 1 - 1e-6)]
    public double TopP { get; init; } = 0.4;

    /// <summary>Whether the kept probabilities are divided by their sum.</summary>
    /// <value>Default false, as in the code.</value>
    [Key]
    public bool Normalize { get; init; }

    /// <summary>Weight of the entropy loss, which keeps the number of experts small.</summary>
    /// <value>Default 0.0001; from 0.</value>
    [Key(Min = 0)]
    public double EntropyCoefficient { get; init; } = 1e-4;

    /// <inheritdoc/>
    public override IReadOnlyList<AuxiliaryTerm> OwnLosses() => EntropyCoefficient > 0
        ? [new("entropy", EntropyCoefficient, (records, tokens) => ModuleMean.Of(
            records, alike => RoutingSpecializationLoss.MeanEntropy(
                ModuleMean.Beside(alike, record => record.Decision.Probabilities!), tokens)))]
        : [];
}

/// <summary>Sends each token to its most probable experts until their probabilities exceed p together.</summary>
/// <remarks>
/// Source: Dynamic MoE, arXiv:2403.07652; ZhenweiAn/Dynamic_MoE: the expert that crosses p is kept, the weights are the
/// raw probabilities, and the loss <c>mean −Σ p ln p</c> is minimised. Where rounding lets no sum exceed p, all experts
/// are kept. Shapes: x [N, D] → gates [N, E].
/// Units: gates are probabilities.
/// Gradient: through the kept probabilities; the choice carries none.
/// </remarks>
public sealed class TopPRouter : Router, IRewirable
{
    private readonly TopPRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public TopPRouter(TopPRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewGate();
    }

    /// <inheritdoc/>
    public Tensor? LogitOffset { get; set; }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var (logits, probabilities) = Softmax(x, _weight, LogitOffset);
        var selected = Selection.NucleusMask(probabilities, _options.TopP, 1, keepsCrossing: true);
        return new RoutingDecision(
            Selection.Gates(probabilities, selected, _options.Normalize), selected, probabilities, logits);
    }
}
