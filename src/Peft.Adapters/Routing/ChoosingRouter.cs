using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of a router that sends each token to the K experts with the largest score.</summary>
public abstract record ChoosingRouterOptions : ExpertRouterOptions
{
    /// <summary>Experts each token is sent to.</summary>
    public abstract int TopK { get; init; }

    /// <summary>Whether the kept scores are divided by their sum.</summary>
    public abstract bool Normalize { get; init; }

    /// <inheritdoc/>
    internal sealed override bool ChoosesByScore => true;

    /// <inheritdoc/>
    public sealed override int MostChosen(int experts) => Math.Min(TopK, experts);

    /// <inheritdoc/>
    internal sealed override int FewestChosen(int experts) => TopK;

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        base.Check(reader, size);
        // Prices need one expert more than a token gets in every layer; a step up or down moves what it can. More than
        // all is refused as it is.
        var experts = Balance.HasDuals ? size.Experts : size.Most;
        if (Balance.HasBias && TopK == experts)
        {
            reader.Section("balance").Fault(
                "kind", $"'{Balance.Kind}' with top_k: {TopK}", $"a top_k below the {experts} experts",
                "where every token gets all experts, there is no choice to move");
        }
    }
}

/// <summary>A router that sends each token to the K experts with the largest score, and whose choice a balance can
/// move.</summary>
/// <remarks>
/// Balance loss-free, bip and quantile: a bias joins the score for the choice, never for the weight; it was made from
/// earlier steps, so that no token's choice depends on later ones. Balance sinkhorn: <see cref="TransportPlan"/> in
/// some of the training steps.
/// Gradient: through the kept scores; the choice carries none.
/// </remarks>
public abstract class ChoosingRouter : Router, ILoadBalanced, IRewirable
{
    /// <summary>Name of the buffer that counts steps, which say when it is sinkhorn's turn.</summary>
    public const string StepsName = "balanced_steps";

    private readonly ChoosingRouterOptions _options;
    private readonly Tensor? _bias;
    private readonly Tensor? _steps;
    private bool? _isTransported;

    /// <summary>Makes the router of one projection.</summary>
    protected ChoosingRouter(ChoosingRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        if (options.Balance.HasBias)
            _bias = NewBuffer(SelectionBias.Name, torch.zeros([context.Experts], torch.float32));
        if (options.Balance.Kind == BalanceOptions.Sinkhorn)
            _steps = NewBuffer(StepsName, torch.zeros([1], torch.float32));
    }

    /// <inheritdoc/>
    public Tensor? LogitOffset { get; set; }

    /// <inheritdoc/>
    public string? WhyNoGradient => _options is { TopK: 1, Normalize: true }
        ? "has top_k 1 and normalize true, so that every gate is 1" : null;

    /// <summary>The decision by the softmax of x times a gate matrix.</summary>
    /// <remarks>Shapes: x [.., D], gate [E, D].</remarks>
    protected RoutingDecision ChooseBySoftmax(Tensor x, Tensor gate, ForwardPass pass)
    {
        if (ChoosesPlainly(pass))
        {
            var (gates, chosen, p, given) = Fused.topk_softmax(x, gate, new(_options.TopK, _options.Normalize));
            return new RoutingDecision(gates, chosen, p, given);
        }

        var logits = Noisy(x, Score(x, gate, LogitOffset), pass);
        var scores = logits.softmax(-1);
        return Choose(x, logits, scores, scores, pass);
    }

    /// <summary>Whether the largest scores are chosen in this pass, and nothing moves them.</summary>
    protected bool ChoosesPlainly(ForwardPass pass) =>
        LogitOffset is null && _bias is null
        && (_steps is null || !pass.Drops || (_options.Balance.Noise == 0 && !IsTransported));

    /// <summary>Logits as the balance has them: with noise in training where it asks for some.</summary>
    /// <remarks>Shapes: x [B, T, D] or [N, D], logits [N, E] → [N, E]. Gradient: through.</remarks>
    protected Tensor Noisy(Tensor x, Tensor logits, ForwardPass pass)
    {
        if (_steps is null || !pass.Drops || _options.Balance.Noise == 0 || IsTransported)
            return logits;
        if (pass.Random is null)
            throw new InvalidOperationException(
                $"{Context.Path}: balance sinkhorn draws noise, and the training pass has no random numbers; give it a "
                    + $"generator");
        return logits + pass.Draw(x, logits.shape, (shape, random) => Seeded.normal_(
            torch.zeros(shape, logits.dtype, logits.device), 0, _options.Balance.Noise, random));
    }

    /// <summary>The decision for scores that are made.</summary>
    /// <remarks>Shapes: x [B, T, D] or [N, D], all others [N, E] float32.</remarks>
    /// <param name="x">The router's input.</param>
    /// <param name="logits">Scores before softmax or sigmoid.</param>
    /// <param name="scores">What experts are chosen and weighted by.</param>
    /// <param name="probabilities">The scores as a distribution.</param>
    /// <param name="pass">The pass.</param>
    protected RoutingDecision Choose(
        Tensor x, Tensor logits, Tensor scores, Tensor probabilities, ForwardPass pass)
    {
        if (_steps is not null && pass.Drops && IsTransported)
        {
            var plan = Plan(x, logits, pass);
            var best = Selection.TopMask(plan, _options.TopK);
            return new RoutingDecision(
                Selection.Gates(plan, best, _options.Normalize), best, probabilities, logits);
        }

        var chosen = Selection.TopMask(_bias is null ? scores : scores.detach() + _bias, _options.TopK);
        return new RoutingDecision(
            Selection.Gates(scores, chosen, _options.Normalize), chosen, probabilities, logits);
    }

    /// <summary>What experts were chosen by.</summary>
    /// <remarks>Shapes: [N, E] float32.</remarks>
    protected virtual Tensor Scores(RoutingDecision decision) => decision.Probabilities!;

    /// <inheritdoc/>
    public bool NeedsScores => _options.Balance.HasDuals;

    /// <inheritdoc/>
    public Tensor? ScoresOf(RoutingDecision decision) => NeedsScores ? Scores(decision) : null;

    /// <inheritdoc/>
    public void Balance(StepLoad load)
    {
        using var off = torch.no_grad();
        _isTransported = null;
        _steps?.add_(1);
        if (_options.Balance.IsLossFree)
            SelectionBias.Update(_bias!, load.Counts, _options.Balance.Rate);
        else if (_options.Balance.HasDuals)
            AssignmentDuals.Update(_bias!, load.Scores!, _options.TopK, _options.Balance);
    }

    // Over all tokens of the batch, whoever computes them.
    private Tensor Plan(Tensor x, Tensor logits, ForwardPass pass)
    {
        var mask = pass.TokenMask?.reshape(-1);
        if (pass.ShareOf(x, Context.Path) is not { } share)
            return TransportPlan.Of(logits, mask, _options.Balance);
        using var scope = torch.NewDisposeScope();
        var (whole, real) = share.WholeOf(logits, mask);
        return share.OwnOf(TransportPlan.Of(whole, real, _options.Balance)).MoveToOuterDisposeScope();
    }

    // One draw a step for all projections, from its number alone: a run that continues draws what it would have drawn.
    private bool IsTransported => _isTransported ??= _options.Balance.Fraction > (ulong)Seeds.SeedFor(
        Context.Seed, $"router.sinkhorn.{(long)_steps!.cpu().item<float>()}") / Math.Pow(2, 64);
}
