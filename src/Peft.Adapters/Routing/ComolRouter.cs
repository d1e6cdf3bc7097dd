using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="ComolRouter"/>.</summary>
public sealed record ComolRouterOptions : ChoosingRouterOptions
{
    /// <summary>What the one A makes of a token.</summary>
    public const string Core = "core";

    /// <summary>The token itself.</summary>
    public const string Full = "full";

    /// <summary>What the router scores.</summary>
    /// <value>Default core, E × R weights a projection; full, E × D.</value>
    [Key(Choices = [Core, Full])]
    public string RouterInput { get; init; } = Core;

    /// <inheritdoc/>
    /// <value>Default all experts, as in the code; the paper speaks of activated ones.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public override int TopK { get; init; } = int.MaxValue;

    /// <inheritdoc/>
    /// <value>Default true; the source does not say, and with all experts it makes no difference.</value>
    [Key]
    public override bool Normalize { get; init; } = true;

    /// <inheritdoc/>
    public override ExpertSharing Sharing { get; } = new() { DownLayers = 1, HasCores = true };
}

/// <summary>Experts that are small matrices between one A and one B, merged for each token by a softmax.</summary>
/// <remarks>
/// Source: CoMoL, arXiv:2603.00573; DCDmllm/CoMoL, mocorelora/layer.py: <c>z = A x</c>, <c>p = softmax(R z)</c> (or of
/// <c>R x</c>), <c>y = W x + s B (Σ p_e K_e)ᵀ z</c>. The code drops out the merged core and what it makes of z too;
/// here lora_dropout is of the input of A, as everywhere, and the router sees z before it.
/// Shapes: x [.., D] → gates [N, E].
/// Units: gates are probabilities, divided by the sum of the chosen with top_k.
/// Gradient: reaches the weights, and with core also A, through the gates.
/// </remarks>
public sealed class ComolRouter : ChoosingRouter
{
    private readonly ComolRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public ComolRouter(ComolRouterOptions options, RouterContext context)
        : base(options, context)
    {
        _options = options;
        if (!IsCore)
        {
            _weight = NewGate();
            return;
        }

        _weight = Take("weight", [context.Experts, context.Rank], weight =>
        {
            using var random = Seeds.GeneratorFor(context.Seed, $"{context.Path}.router.weight");
            Seeded.kaiming_uniform_(weight, Math.Sqrt(5), random);
        });
        register_parameter("weight", _weight);
    }

    private bool IsCore => _options.RouterInput == ComolRouterOptions.Core;

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var hidden = IsCore ? Score(x, Context.Down!.narrow(0, 0, Context.Rank)) : null;       // [N, R]
        var logits = Noisy(x, Score(hidden ?? x, _weight, LogitOffset), pass);
        var p = logits.softmax(-1);
        var decision = _options.TopK >= Context.Experts && ChoosesPlainly(pass)
            ? RoutingDecision.OfAll(p, p, logits)
            : Choose(x, logits, p, p, pass);
        return decision with { Hidden = hidden };
    }
}
