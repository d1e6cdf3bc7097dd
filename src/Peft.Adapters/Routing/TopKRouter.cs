using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="TopKRouter"/>.</summary>
public sealed record TopKRouterOptions : ChoosingRouterOptions
{
    /// <summary>Scores that sum to 1 over the experts.</summary>
    public const string Softmax = "softmax";

    /// <summary>Scores of each expert by itself, as loss-free balancing was tuned for.</summary>
    public const string Sigmoid = "sigmoid";

    /// <summary>Experts each token is sent to.</summary>
    /// <value>Default 2; from 1 to the number of experts.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public override int TopK { get; init; } = 2;

    /// <summary>Whether the kept scores are divided by their sum (Mixtral, MoLA, MixLoRA) or left as they
    /// are.</summary>
    /// <value>Default true. With top_k 1 and true every gate is 1, so the router learns only from a balance
    /// loss.</value>
    [Key]
    public override bool Normalize { get; init; } = true;

    /// <summary>How logits become scores.</summary>
    /// <value>Default softmax; softmax or sigmoid.</value>
    [Key(Choices = [Softmax, Sigmoid])]
    public string ScoringFunc { get; init; } = Softmax;
}

/// <summary>Sends each token to the K experts with the largest score.</summary>
/// <remarks>
/// Source: MoLA, arXiv:2402.08562 (softmax, top-2, renormalised); Mixtral, arXiv:2401.04088, section 2.1; with balance
/// loss-free, arXiv:2408.15664: a bias joins the score for the choice, never for the weight.
/// Shapes: x [N, D] → gates [N, E] with K of them above zero in every row.
/// Units: gates are scores; they sum to 1 when renormalised. Sigmoid scores are divided by their sum for Probabilities.
/// Gradient: reaches the gate matrix through the kept scores; the choice carries none.
/// </remarks>
public sealed class TopKRouter : ChoosingRouter
{
    private readonly TopKRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public TopKRouter(TopKRouterOptions options, RouterContext context)
        : base(options, context)
    {
        _options = options;
        _weight = NewGate();
    }

    private bool IsSoftmax => _options.ScoringFunc == TopKRouterOptions.Softmax;

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        if (IsSoftmax)
            return ChooseBySoftmax(x, _weight, pass);
        var logits = Noisy(x, Score(x, _weight, LogitOffset), pass);
        var scores = logits.sigmoid();
        return Choose(x, logits, scores, scores / scores.sum(-1, keepdim: true), pass);
    }

    /// <inheritdoc/>
    protected override Tensor Scores(RoutingDecision decision) =>
        IsSoftmax ? decision.Probabilities! : decision.Logits!.sigmoid();
}
