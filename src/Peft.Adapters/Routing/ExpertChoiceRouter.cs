using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="ExpertChoiceRouter"/>.</summary>
public sealed record ExpertChoiceRouterOptions : RouterOptions
{
    /// <summary>Experts that a token gets on average.</summary>
    /// <value>Default 2 (the paper's); above 0. Each expert takes n c / E of n real tokens, rounded down, at least
    /// one.</value>
    [Key(Above = 0)]
    public double CapacityFactor { get; init; } = 2;

    /// <inheritdoc/>
    public override string WhyNoDecoding => "each expert takes its best tokens of the whole batch, later ones too";
}

/// <summary>Each expert takes the tokens that want it most; so all have the same load, and a token may get any number
/// of experts.</summary>
/// <remarks>
/// Source: Zhou et al. 2022, arXiv:2202.09368, section 3.2: <c>S = softmax(R x)</c> over the experts, each expert its
/// top-k tokens of the batch, <c>k = n c / E</c>, weight S. Padding is never taken; of equals the first.
/// A token's experts depend on the other tokens of its batch, later ones among them: for training and for measuring
/// given texts, not for writing one.
/// Shapes: x [N, D] → gates [N, E].
/// Units: gates are probabilities.
/// Gradient: through the probabilities of what is taken; the choice carries none.
/// </remarks>
public sealed class ExpertChoiceRouter : Router
{
    private readonly ExpertChoiceRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public ExpertChoiceRouter(ExpertChoiceRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewGate();
    }

    /// <inheritdoc/>
    /// <exception cref="UserException">The pass goes on from a cache.</exception>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        if (pass.Cache is not null)
            throw OnlyGivenTexts(_options);
        var (logits, probabilities) = Softmax(x, _weight);
        var selected = Chosen(x, probabilities, pass);
        return new RoutingDecision(
            Selection.Gates(probabilities, selected, normalize: false), selected, probabilities, logits);
    }

    // Over all tokens of the batch, whoever computes them.
    private Tensor Chosen(Tensor x, Tensor probabilities, ForwardPass pass)
    {
        var mask = pass.TokenMask?.reshape(-1);
        if (pass.ShareOf(x, Context.Path) is not { } share)
            return Choose(probabilities, mask, _options.CapacityFactor);
        using var scope = torch.NewDisposeScope();
        var (whole, real) = share.WholeOf(probabilities, mask);
        return share.OwnOf(Choose(whole, real, _options.CapacityFactor)).MoveToOuterDisposeScope();
    }

    /// <summary>The tokens of every expert.</summary>
    /// <remarks>Shapes: probabilities [N, E], mask [N] bool or null → bool [N, E].</remarks>
    public static Tensor Choose(Tensor probabilities, Tensor? mask, double capacityFactor)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var wanted = probabilities.detach().t().contiguous();                                  // [E, N]
        if (mask is not null)
            wanted = wanted.masked_fill(mask.logical_not().unsqueeze(0), -1);
        var (tokens, experts) = (mask?.sum().ToInt64() ?? wanted.shape[1], wanted.shape[0]);
        var capacity = Math.Clamp((long)Math.Floor(tokens * capacityFactor / experts), 1, Math.Max(1, tokens));
        return Selection.TopMask(wanted, (int)capacity).t().contiguous().MoveToOuterDisposeScope();
    }
}
