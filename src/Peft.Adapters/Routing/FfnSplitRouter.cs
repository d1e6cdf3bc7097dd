using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of a router that chooses slices of a frozen feed-forward.</summary>
public abstract record SliceRouterOptions : ExpertRouterOptions
{
    /// <summary>Slices that a feed-forward is cut into.</summary>
    public abstract int Count { get; init; }

    /// <inheritdoc/>
    public sealed override int? Slices => Count;
}

/// <summary>Settings of <see cref="FfnSplitRouter"/>.</summary>
public sealed record FfnSplitRouterOptions : SliceRouterOptions
{
    /// <inheritdoc/>
    /// <value>Default 4; from 2; a divisor of the inner width.</value>
    [Key(Min = 2, Max = 4096)]
    public override int Count { get; init; } = 4;

    /// <summary>Slices each token goes through.</summary>
    /// <value>Default 0: all of them, which at first gives what the base gives. Fewer lose something from the
    /// beginning, whatever their weights.</value>
    [Key(Min = 0)]
    public int TopK { get; init; }

    /// <summary>Deviation of the gate matrix at first.</summary>
    /// <value>Default 0: all slices weigh alike. From 0; above 0 where top_k chooses among them.</value>
    [Key(Min = 0)]
    public double InitStd { get; init; }

    /// <inheritdoc/>
    internal override int FewestChosen(int experts) => Kept == Count ? experts : 0;

    /// <summary>Slices each token goes through.</summary>
    internal int Kept => TopK == 0 ? Count : TopK;

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        base.Check(reader, size);
        if (TopK > Count)
            reader.Fault("top_k", $"{TopK}", $"at most the {Count} slices that count says, or 0 for all");
        if (Kept < Count && InitStd == 0)
            reader.Fault(
                "init_std", $"0 with top_k: {TopK}", "above 0, such as 0.02",
                "with weights alike the first slices would always be chosen");
    }
}

/// <summary>Settings of <see cref="FactorLlmRouter"/>; the defaults are the code's.</summary>
public sealed record FactorLlmRouterOptions : SliceRouterOptions
{
    /// <inheritdoc/>
    /// <value>Default 4; from 2; a divisor of the inner width.</value>
    [Key(Min = 2, Max = 4096)]
    public override int Count { get; init; } = 4;

    /// <summary>Slices each token goes through.</summary>
    /// <value>Default half of count; from 1 to below count.</value>
    [Key(Min = 1)]
    public int TopK { get; init; } = 2;

    /// <summary>Weight of <see cref="SliceLosses.Route"/>, from which the router learns.</summary>
    /// <value>Default 0.05 (the code's); above 0.</value>
    [Key(Above = 0)]
    public double RouteCoefficient { get; init; } = 0.05;

    /// <summary>Weight of <see cref="SliceLosses.Kept"/>.</summary>
    /// <value>Default 0.01 (the code's); from 0.</value>
    [Key(Min = 0)]
    public double BalanceCoefficient { get; init; } = 0.01;

    /// <inheritdoc/>
    public override bool NeedsFeedForward => true;

    /// <inheritdoc/>
    public override IReadOnlyList<AuxiliaryTerm> OwnLosses()
    {
        var terms = new List<AuxiliaryTerm> { new("route", RouteCoefficient, (records, tokens) =>
            Sum(records, decision => SliceLosses.Route(decision.Probabilities!, decision.Labels!, tokens))) };
        if (BalanceCoefficient > 0)
            terms.Add(new("kept_probability", BalanceCoefficient, (records, tokens) => Sum(
                records, decision => SliceLosses.Kept(decision.Probabilities!, decision.Selected, tokens))));
        return terms;
    }

    /// <inheritdoc/>
    protected override RouterOptions FirstValues(OptionReader reader, RouterSize size) =>
        this with { TopK = reader.Bind(this).Count / 2 };

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        base.Check(reader, size);
        if (TopK >= Count)
            reader.Fault(
                "top_k", $"{TopK}", $"below the {Count} slices that count says",
                "where a token goes through all slices, there is nothing to choose");
    }

    // The code adds up the losses of all layers.
    private static Tensor Sum(IReadOnlyList<RoutingRecord> records, Func<SliceDecision, Tensor> loss) =>
        records.Select(record => loss((SliceDecision)record.Decision)).Aggregate((sum, one) => sum + one);
}

/// <summary>A decision that knows which slices a token should go through.</summary>
/// <param name="Gates">[N, E].</param>
/// <param name="Selected">[N, E] bool.</param>
/// <param name="Probabilities">[N, E].</param>
/// <param name="Logits">[N, E].</param>
/// <param name="Labels">[N, E] bool, as <see cref="SliceLabels"/> makes them; null outside of training.</param>
public sealed record SliceDecision(
    Tensor Gates, Tensor Selected, Tensor Probabilities, Tensor Logits, Tensor? Labels)
    : RoutingDecision(Gates, Selected, Probabilities, Logits)
{
    /// <inheritdoc/>
    public override IEnumerable<Tensor> Tensors => Labels is null ? base.Tensors : base.Tensors.Append(Labels);
}

/// <summary>Cuts the frozen feed-forward into slices of its inner numbers and weighs them for each token; the slices
/// add up to the whole where all weigh alike.</summary>
/// <remarks>
/// Source: the identity behind FactorLLM, arXiv:2408.11855, and Innovator, arXiv:2507.18671: rows of gate and up and
/// columns of down, cut alike, give <c>Σ_e FFN_e(x) = FFN(x)</c>. Weights <c>E p_e / Σ_kept p</c>, <c>p = softmax(R
/// x)</c>, R zero at first, so that each is 1 where all are kept. The LoRA of gate, up and down is cut with them. The
/// weights are our choice: the sources leave them open or have none.
/// Shapes: x [N, D] → gates [N, E], E the number of slices.
/// Gradient: through the kept probabilities.
/// </remarks>
public sealed class FfnSplitRouter : Router
{
    private readonly FfnSplitRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one feed-forward.</summary>
    public FfnSplitRouter(FfnSplitRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewNormalGate(options.InitStd);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var (gates, selected, probabilities, logits) = Fused.topk_softmax(
            x, _weight, new(_options.Kept, Normalize: true));
        return new(gates * _options.Count, selected, probabilities, logits) { WeighsSlices = true };
    }

    /// <summary>Slices of a feed-forward's inner numbers, each times its weight.</summary>
    /// <remarks>Shapes: x [.., F], gates [N, E] → [.., F].</remarks>
    internal static Tensor Weighed(Tensor x, Tensor gates)
    {
        var slices = gates.shape[^1];
        return (x.reshape(-1, slices, x.shape[^1] / slices) * gates.to(x.dtype).unsqueeze(-1)).reshape(x.shape);
    }
}

/// <summary>Sends each token through half of the slices of the frozen feed-forward, each with the same weight; it
/// learns which from the slices themselves, not from the task.</summary>
/// <remarks>
/// Source: FactorLLM, arXiv:2408.11855; zhenwuweihe/FactorLLM new_model_KD.py, loss.py: <c>p = softmax(R x + b)</c>,
/// the k most probable slices have weight E / k, the others 0; the losses of <see cref="SliceLosses"/>, added up over
/// the layers as the validation step of train.py does (its training step leaves them out, and nothing trains R then).
/// Differences to the code: labels and p are made of the input that the layer has in this model. The code makes them of
/// the product of the layer before alone, without attention, residual and norm, which is the same in the first layer.
/// Labels compare the frozen slices; the code compares those that are trained with the frozen whole. E / k is not
/// rounded.
/// Shapes: x [N, D] → gates [N, E], E the number of slices.
/// Gradient: to R and b alone, from the losses alone.
/// </remarks>
public sealed class FactorLlmRouter : Router
{
    private readonly FactorLlmRouterOptions _options;
    private readonly Parameter _weight;
    private readonly Parameter _bias;

    /// <summary>Makes the router of one feed-forward; first values are those of a linear layer of PyTorch.</summary>
    public FactorLlmRouter(FactorLlmRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewGate();
        _bias = NewBias(context.Width);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var input = x.detach();
        var logits = Score(input, _weight) + _bias;
        var probabilities = logits.softmax(-1);
        var selected = Selection.TopMask(probabilities.detach(), _options.TopK);
        var gates = selected.to(torch.float32) * ((double)_options.Count / _options.TopK);
        var labels = pass.IsTraining && Context.FeedForward is { } whole
            ? SliceLabels.Of(whole.Inner(input), whole.Down, _options.Count, _options.TopK) : null;
        return new SliceDecision(gates, selected, probabilities, logits, labels) { WeighsSlices = true };
    }
}

/// <summary>Which slices of a feed-forward stand nearest to their share of the whole.</summary>
/// <remarks>Source: FactorLLM, arXiv:2408.11855: <c>e_i = mean((FFN_i(x) − FFN(x) k / E)²)</c> over the outputs, the k
/// smallest are labelled. A bias of the last projection belongs to no slice. Gradient: none.</remarks>
public static class SliceLabels
{
    /// <summary>The labels.</summary>
    /// <remarks>Shapes: inner [.., F], down [O, F] → [N, E] bool with k true in every row.</remarks>
    public static Tensor Of(Tensor inner, Tensor down, int slices, int kept)
    {
        using var errors = Errors(inner, down, slices, kept);
        return Selection.TopMask(errors.neg_(), kept);
    }

    /// <summary>How far each slice is from its share.</summary>
    /// <remarks>Shapes: inner [.., F], down [O, F] → [N, E] float32.</remarks>
    public static Tensor Errors(Tensor inner, Tensor down, int slices, int kept) =>
        Fused.slice_errors(inner, down, slices, (double)kept / slices);
}

/// <summary>What a router of slices learns from, which no task's gradient reaches.</summary>
/// <remarks>Source: FactorLLM, arXiv:2408.11855; zhenwuweihe/FactorLLM loss.py. Shapes: probabilities [N, E], labels
/// and selected bool [N, E], tokens.Mask [N] bool or null → scalar. Gradient: through the probabilities.</remarks>
public static class SliceLosses
{
    private const double Tiny = 1e-7;

    /// <summary>The divergence of the router's distribution p from that of the labels, <c>Σ p ln(p / q)</c>, <c>q =
    /// softmax(label)</c> with labels 0 and 1, both held within 1e-7 and 1 − 1e-7; the mean over tokens.</summary>
    public static Tensor Route(Tensor probabilities, Tensor labels, RoutedTokens? tokens)
    {
        var (p, q) = (Held(probabilities), Held(labels.to(torch.float32).softmax(-1)));
        return TokenMean.OfRows(p * (p / q).log(), tokens).sum();
    }

    /// <summary>The mean over tokens and slices of the probability of what is kept: the smaller, the flatter the
    /// router.</summary>
    public static Tensor Kept(Tensor probabilities, Tensor selected, RoutedTokens? tokens) =>
        TokenMean.OfRows(probabilities * selected.to(torch.float32), tokens).mean();

    private static Tensor Held(Tensor distribution) => distribution.clamp(Tiny, 1 - Tiny);
}
