using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of a router that sends each token to the K most probable of experts that are whole
/// feed-forwards.</summary>
public abstract record MixLoraChoiceOptions : ChoosingRouterOptions
{
    /// <summary>The balance is the code's.</summary>
    protected MixLoraChoiceOptions() => Balance = MixLora.Balance;

    /// <summary>Deviation of the gate matrix at first.</summary>
    /// <value>Default 0.02 (the code's); above 0.</value>
    [Key(Above = 0)]
    public double InitStd { get; init; } = MixLora.InitStd;

    /// <summary>ε of the factor from 1 − ε to 1 + ε that multiplies the feed-forward's input in training.</summary>
    /// <value>Default 0, 0.01 for mixlora-switch (the code's); from 0 to below 1.</value>
    [Key(Min = 0, Below = 1)]
    public double Jitter { get; init; }

    /// <inheritdoc/>
    public sealed override bool WholeFeedForward => true;

    /// <summary>How many times its even share of a row's tokens an expert takes in training, at most; 0: any
    /// number.</summary>
    internal virtual double Capacity => 0;
}

/// <summary>Settings of MixLoRA.</summary>
public sealed record MixLoraRouterOptions : MixLoraChoiceOptions
{
    /// <summary>Experts each token is sent to.</summary>
    /// <value>Default 2; from 1 to the number of experts.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public override int TopK { get; init; } = 2;

    /// <summary>Whether the kept probabilities are divided by their sum.</summary>
    /// <value>Default true (the code's); without it the feed-forward gives less than the base's.</value>
    [Key]
    public override bool Normalize { get; init; } = true;
}

/// <summary>Settings of MixLoRA's switch variant: one expert a token, weighted by its probability.</summary>
public sealed record MixLoraSwitchRouterOptions : MixLoraChoiceOptions
{
    /// <summary>The code's jitter.</summary>
    public MixLoraSwitchRouterOptions() => Jitter = 0.01;

    /// <inheritdoc/>
    public override int TopK { get; init; } = 1;

    /// <summary>Whether the one gate is 1 instead of the expert's probability.</summary>
    /// <value>Default false, as Switch Transformers have it: the router learns by the gate, and the feed-forward gives
    /// less than the base's. With true it learns by its losses alone.</value>
    [Key]
    public override bool Normalize { get; init; }

    /// <summary>Weight of the z-loss.</summary>
    /// <value>Default 0.001 (the code's); from 0.</value>
    [Key(Min = 0)]
    public double ZLossCoefficient { get; init; } = 0.001;

    /// <summary>How many times its even share of a row's tokens an expert takes in training, at most; 0: any
    /// number.</summary>
    /// <value>Default 32 (the code's), which is no limit for up to 32 experts. Later tokens get none then: what their
    /// feed-forward gives is 0, as in Switch Transformers. The row as its measure is our reading.</value>
    [Key(Min = 0)]
    public double CapacityFactor { get; init; } = 32;

    /// <inheritdoc/>
    internal override double Capacity => CapacityFactor;

    /// <inheritdoc/>
    public override IReadOnlyList<AuxiliaryTerm> OwnLosses() => ZLossCoefficient == 0 ? []
        : [new("z", ZLossCoefficient, (records, tokens) => ModuleMean.Of(
            records, alike => alike.Select(record => MixLora.ZLoss(record.Decision.Logits!, tokens))
                .Aggregate((sum, one) => sum + one)))];
}

/// <summary>Settings of MixLoRA's dynamic variant: experts up to a total probability.</summary>
public sealed record MixLoraDynamicRouterOptions : ExpertRouterOptions
{
    /// <summary>The balance is the code's.</summary>
    public MixLoraDynamicRouterOptions() => Balance = MixLora.Balance;

    /// <summary>Probability that the kept experts exceed together.</summary>
    /// <value>Default 0.8 (the code's); above 0, below 1.</value>
    [Key(Min = 1e-6, Max = 1 - 1e-6)]
    public double TopP { get; init; } = 0.8;

    /// <summary>Whether the kept probabilities are divided by their sum.</summary>
    /// <value>Default false (the code's): the feed-forward gives a little less than the base's.</value>
    [Key]
    public bool Normalize { get; init; }

    /// <inheritdoc cref="MixLoraChoiceOptions.InitStd"/>
    /// <value>Default 0.02 (the code's); above 0.</value>
    [Key(Above = 0)]
    public double InitStd { get; init; } = MixLora.InitStd;

    /// <inheritdoc cref="MixLoraChoiceOptions.Jitter"/>
    /// <value>Default 0 (the code's); from 0 to below 1.</value>
    [Key(Min = 0, Below = 1)]
    public double Jitter { get; init; }

    /// <inheritdoc/>
    public override bool WholeFeedForward => true;

    /// <inheritdoc/>
    /// <remarks>The largest exceed a part of the whole with no more experts than even ones would take.</remarks>
    public override int MostChosen(int experts) => Math.Min(experts, (int)(TopP * experts) + 1);
}

/// <summary>Sends each token to the K most probable of experts that are whole feed-forwards.</summary>
/// <remarks>
/// Source: MixLoRA, arXiv:2404.15159; TUDB-Labs/MoE-PEFT adapters/mixlora/model.py: <c>p = softmax(R x)</c>, R from
/// N(0, 0.02²), x the feed-forward's input; top-2 renormalised, or top-1 as it is (switch).
/// <c>y = Σ_e g_e FFN_e(x)</c>, FFN_e the frozen feed-forward with the LoRA of expert e on each of its projections.
/// Shapes: x [N, D] → gates [N, E].
/// Gradient: through the kept probabilities; the choice carries none.
/// </remarks>
public sealed class MixLoraRouter : ChoosingRouter
{
    private readonly MixLoraChoiceOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one feed-forward.</summary>
    public MixLoraRouter(MixLoraChoiceOptions options, RouterContext context)
        : base(options, context)
    {
        _options = options;
        _weight = NewNormalGate(options.InitStd);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var factor = MixLora.JitterFor(x, _options.Jitter, pass, Context.Path);
        var decision = ChooseBySoftmax(factor is null ? x : x * factor, _weight, pass) with { InputFactor = factor };
        return _options.Capacity > 0 && _options.Capacity < Context.Experts && pass.Drops
            ? Limited(decision, x.ndim == 3 ? x.shape[0] : 1, pass.TokenMask) : decision;
    }

    /// <inheritdoc/>
    public override long KeptBytes(int width) => MixLora.KeptBytes(_options.Jitter, Context.Width, width);

    // Of each row an expert keeps the first tokens.
    private RoutingDecision Limited(RoutingDecision decision, long rows, Tensor? mask)
    {
        var chosen = decision.Selected.reshape(rows, -1, Context.Experts);                     // [B, T, E]
        var real = mask is null ? chosen : chosen.logical_and(mask.unsqueeze(-1));
        var most = Math.Ceiling(_options.Capacity * chosen.shape[1] / Context.Experts);
        var kept = chosen.logical_and(real.to(torch.int64).cumsum(1).le(most)).reshape(decision.Selected.shape);
        return decision with { Gates = decision.Gates * kept, Selected = kept };
    }
}

/// <summary>Sends each token to the most probable of experts that are whole feed-forwards, up to a total
/// probability.</summary>
/// <remarks>
/// Source: TUDB-Labs/MoE-PEFT adapters/mixlora/model.py (mixlora-dynamic): the expert that crosses p is kept, the
/// weights are the raw probabilities. Shapes and gradient: as <see cref="MixLoraRouter"/>.
/// </remarks>
public sealed class MixLoraDynamicRouter : Router, IRewirable
{
    private readonly MixLoraDynamicRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one feed-forward.</summary>
    public MixLoraDynamicRouter(MixLoraDynamicRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewNormalGate(options.InitStd);
    }

    /// <inheritdoc/>
    public Tensor? LogitOffset { get; set; }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var factor = MixLora.JitterFor(x, _options.Jitter, pass, Context.Path);
        var (logits, probabilities) = Softmax(factor is null ? x : x * factor, _weight, LogitOffset);
        var selected = Selection.NucleusMask(probabilities, _options.TopP, 1, keepsCrossing: true);
        return new(Selection.Gates(probabilities, selected, _options.Normalize), selected, probabilities, logits)
        {
            InputFactor = factor,
        };
    }

    /// <inheritdoc/>
    public override long KeptBytes(int width) => MixLora.KeptBytes(_options.Jitter, Context.Width, width);
}

/// <summary>What MixLoRA and its variants have in common.</summary>
public static class MixLora
{
    /// <summary>Deviation of the gate matrix at first.</summary>
    internal const double InitStd = 0.02;

    /// <summary>The loss of Mixtral's form over all layers together.</summary>
    internal static BalanceOptions Balance { get; } = new() { Kind = BalanceOptions.Switch, Scope = "model" };

    /// <summary>The mean of <c>log² Σ exp z</c> over the tokens.</summary>
    /// <remarks>Source: ST-MoE, arXiv:2202.08906, eq. 5. Shapes: logits [N, E], tokens.Mask [N] bool or null →
    /// scalar. Gradient: through.</remarks>
    public static Tensor ZLoss(Tensor logits, RoutedTokens? tokens) =>
        TokenMean.OfRows(logits.logsumexp(-1, keepdim: true).square(), tokens).sum();

    /// <summary>A factor from 1 − ε to 1 + ε for every number of the input in training; null where there is
    /// none.</summary>
    /// <remarks>Source: TUDB-Labs/MoE-PEFT multiplies the input in place, so that experts get what the router saw.
    /// Shapes: as x.</remarks>
    internal static Tensor? JitterFor(Tensor x, double epsilon, ForwardPass pass, string path)
    {
        if (epsilon == 0 || !pass.Drops)
            return null;
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        if (pass.Random is null)
            throw new InvalidOperationException(
                $"{path}: router jitter draws factors, and the training pass has no random numbers; give it a "
                    + "generator");
        return pass.Draw(x, x.shape, (shape, random) =>
            torch.empty(shape, torch.float32, x.device).uniform_(1 - epsilon, 1 + epsilon, random)).to(x.dtype)
                .MoveToOuterDisposeScope();
    }

    /// <summary>What jitter keeps of a token: the factors, and the input that the router and the two projections behind
    /// it multiply by them.</summary>
    internal static long KeptBytes(double epsilon, long inputs, int width) => epsilon == 0 ? 0 : 4L * width * inputs;
}
