using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="HardSoftRouter"/>.</summary>
public sealed record HardSoftRouterOptions : ExpertRouterOptions
{
    /// <summary>Stage 1: every row goes to the expert of its task.</summary>
    public const string Hard = "hard";

    /// <summary>Stage 2: the router learns.</summary>
    public const string Soft = "soft";

    /// <summary>A router for each projection.</summary>
    public const string PerProjection = "projection";

    /// <summary>A router for each attention block.</summary>
    public const string PerAttentionBlock = "attention-block";

    /// <summary>Which stage runs.</summary>
    /// <value>Default soft. hard: the row's task id is its expert, the router is neither used nor trained.</value>
    [Key(Choices = [Hard, Soft])]
    public string Stage { get; init; } = Soft;

    /// <summary>Experts kept at inference in the soft stage.</summary>
    /// <value>Default 3 (the paper's first version); from 1 to the number of experts.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public int TopK { get; init; } = 3;

    /// <summary>Whether inference divides the kept probabilities by their sum.</summary>
    /// <value>Default true, because the weights of soft training sum to 1; the paper does not say.</value>
    [Key]
    public bool Normalize { get; init; } = true;

    /// <summary>Whether the projections of an attention block share one router.</summary>
    /// <value>Default projection, a router each; attention-block: the first adapted projection of a block decides for
    /// all.</value>
    [Key(Choices = [PerProjection, PerAttentionBlock])]
    public string Granularity { get; init; } = PerProjection;

    /// <summary>Weight β of the preservation loss on the experts, for the soft stage with experts that still
    /// learn.</summary>
    /// <value>Default 0 (unreported in the paper); from 0.</value>
    [Key(Min = 0)]
    public double Preservation { get; init; }

    /// <summary>The Routing Specialization Loss of the soft stage.</summary>
    [Key]
    public RoutingSpecializationOptions Specialization { get; init; } = new();

    /// <inheritdoc/>
    public override IEnumerable<IneffectiveKey> Ineffective()
    {
        var (first, hard) = (new HardSoftRouterOptions(), Stage == Hard);
        var loss = Specialization;
        var off = hard ? "stage: hard" : "specialization.coefficient: 0";
        return
        [
            .. base.Ineffective(),
            .. IneffectiveKey.If(hard, "top_k", TopK, first.TopK, "stage: hard"),
            .. IneffectiveKey.If(hard, "granularity", Granularity, first.Granularity, "stage: hard"),
            .. IneffectiveKey.If(hard, "normalize", Normalize, first.Normalize, "stage: hard"),
            .. IneffectiveKey.If(hard, "preservation", Preservation, first.Preservation, "stage: hard"),
            .. IneffectiveKey.If(hard, "specialization.coefficient", loss.Coefficient, 1, "stage: hard"),
            .. IneffectiveKey.If(hard || loss.Coefficient == 0, "specialization.alpha", loss.Alpha, 1, off),
            .. IneffectiveKey.If(hard || loss.Coefficient == 0, "specialization.lambda", loss.Lambda, 0.01, off),
            .. IneffectiveKey.If(
                loss.Load == "argmax", "specialization.load_top_k", loss.LoadTopK, Math.Min(
                    2, loss.LoadTopK), "specialization.load: argmax"),
        ];
    }

    /// <inheritdoc/>
    public override TaskRule? TaskRule(int experts) =>
        Stage == Hard ? new(experts, "router hard-soft, stage hard", "raise adapter.experts.count") : null;

    /// <inheritdoc/>
    internal override string? WhyNoProbabilities => Stage == Hard ? "stage: hard" : null;

    /// <inheritdoc/>
    /// <remarks>In training, where a balance is measured.</remarks>
    internal override int FewestChosen(int experts) => experts;

    /// <inheritdoc/>
    public override bool SharesInBlock => Granularity == PerAttentionBlock;

    /// <inheritdoc/>
    public override double PreservationCoefficient => Stage == Soft ? Preservation : 0;

    /// <inheritdoc/>
    public override IReadOnlyList<AuxiliaryTerm> OwnLosses() =>
        Stage == Soft && Specialization.Coefficient > 0
            ? [new AuxiliaryTerm(
                "specialization",
                Specialization.Coefficient,
                (records, tokens) => RoutingSpecializationLoss.Of(records, tokens, Specialization))]
            : [];
}

/// <summary>LoRA-Mixer's two stages: experts learn by task id first, then a router learns to mix them.</summary>
/// <remarks>
/// Source: LoRA-Mixer, arXiv:2507.00029, eq. 2 and 4 and the section on hard routing (no official code exists).
/// Shapes: x [B, T, D] or [N, D], pass.TaskIds [B] (or [B, T] for packed rows) → gates [N, E].
/// Units: hard: one gate of 1 a token. Soft: probabilities in training, the top K of them at inference.
/// Gradient: soft: reaches the gate matrix through the gates. Hard: only the chosen expert learns; the gate matrix is
/// frozen. Errors: <see cref="TaskIdException"/> in the hard stage when task ids are missing or name no expert.
/// </remarks>
public sealed class HardSoftRouter : Router
{
    private static readonly TaskWords Words = new(
        "hard-soft in stage hard", "give each data source a task, or write stage: soft", "one expert for each task",
        "raise adapter.experts.count");

    private readonly HardSoftRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public HardSoftRouter(HardSoftRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewGate();
        _weight.requires_grad = options.Stage == HardSoftRouterOptions.Soft;
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass) =>
        _options.Stage == HardSoftRouterOptions.Hard ? RouteByTask(x, pass) : RouteSoftly(x, pass);

    private RoutingDecision RouteSoftly(Tensor x, ForwardPass pass)
    {
        var (logits, probabilities) = Softmax(x, _weight);
        if (pass.IsTraining)
            return RoutingDecision.OfAll(probabilities, probabilities, logits);
        var selected = Selection.TopMask(probabilities, _options.TopK);
        return new RoutingDecision(
            Selection.Gates(probabilities, selected, _options.Normalize), selected, probabilities, logits);
    }

    private RoutingDecision RouteByTask(Tensor x, ForwardPass pass)
    {
        var tasks = TaskIds.OfTokens(x, pass, Context.Path, Context.Experts, Words);
        var experts = torch.arange(Context.Experts, torch.int64, x.device);
        var selected = tasks.unsqueeze(-1).eq(experts); // [N, E]
        return new RoutingDecision(selected.to(torch.float32), selected);
    }
}

/// <summary>Settings of <see cref="RoutingSpecializationLoss"/>.</summary>
public sealed record RoutingSpecializationOptions
{
    /// <summary>The paper's sign: minimising −λ·H raises the entropy and flattens the router.</summary>
    public const string AsWritten = "as-written";

    /// <summary>The sign that the paper's prose describes: minimising +λ·H sharpens the router.</summary>
    public const string Specialising = "specialising";

    /// <summary>Weight of the whole loss beside the task's.</summary>
    /// <value>Default 1; from 0 (off).</value>
    [Key(Min = 0)]
    public double Coefficient { get; init; } = 1;

    /// <summary>Weight of the balance part.</summary>
    /// <value>Default 1 (unreported in the paper; the third-party port's value); from 0.</value>
    [Key(Min = 0)]
    public double Alpha { get; init; } = 1;

    /// <summary>Weight of the entropy part.</summary>
    /// <value>Default 0.01 (unreported in the paper); from 0. Sweep 0.001, 0.01, 0.1.</value>
    [Key(Min = 0)]
    public double Lambda { get; init; } = 0.01;

    /// <summary>What counts as an expert's load.</summary>
    /// <value>Default argmax: share of tokens whose best expert it is. first-k: share of the tokens' first k
    /// choices.</value>
    [Key(Choices = ["argmax", "first-k"])]
    public string Load { get; init; } = "argmax";

    /// <summary>k of load first-k.</summary>
    /// <value>Default 2; from 1 to the number of experts.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public int LoadTopK { get; init; } = 2;

    /// <summary>Sign of the entropy part; the paper's formula and its prose disagree.</summary>
    /// <value>Default as-written; as-written or specialising.</value>
    [Key(Choices = [AsWritten, Specialising])]
    public string EntropySign { get; init; } = AsWritten;
}

/// <summary>LoRA-Mixer's Routing Specialization Loss: balance between experts against sharpness of each token's
/// choice.</summary>
/// <remarks>
/// Source: LoRA-Mixer, arXiv:2507.00029, eq. 3 and 5: <c>α Σ_i p̄_i f̄_i ∓ λ E_x[H(p(x))]</c>, H in nats; no factor E.
/// Gradient: through p̄ and H; the load f̄ is constant. Padding never counts; the mean over modules is taken.
/// </remarks>
public static class RoutingSpecializationLoss
{
    private const double Tiny = 1e-20;

    /// <summary>The loss of all modules: the mean of theirs.</summary>
    /// <remarks>Shapes: records of [N, E]; tokens.Mask [N] bool or null → scalar.</remarks>
    public static Tensor Of(
        IReadOnlyList<RoutingRecord> records, RoutedTokens? tokens, RoutingSpecializationOptions options) =>
        ModuleMean.Of(records, alike => Of(
            ModuleMean.Beside(alike, record => record.Decision.Probabilities
                ?? throw new ArgumentException($"{record.Module}: this loss needs probabilities")),
            tokens, options, alike.Count));

    /// <summary>The sum of the losses of M modules side by side.</summary>
    /// <remarks>Shapes: probabilities [N, M·E], tokens.Mask [N] bool or null → scalar.</remarks>
    public static Tensor Of(
        Tensor probabilities, RoutedTokens? tokens, RoutingSpecializationOptions options, int modules = 1)
    {
        var balance = Balance(probabilities, tokens, options.Load == "argmax" ? 1 : options.LoadTopK, modules);
        var entropy = MeanEntropy(probabilities, tokens);
        var sign = options.EntropySign == RoutingSpecializationOptions.AsWritten ? -1 : 1;
        return balance * options.Alpha + entropy * (sign * options.Lambda);
    }

    /// <summary><c>Σ_i p̄_i f̄_i</c>, f̄ the share of the tokens' first k choices.</summary>
    /// <remarks>Source: eq. 3 and section 3.3. Shapes: [N, M·E] of M modules side by side → scalar, the sum of theirs.
    /// Gradient: through p̄.</remarks>
    public static Tensor Balance(Tensor probabilities, RoutedTokens? tokens, int k, int modules = 1)
    {
        var each = probabilities.reshape(-1, probabilities.shape[1] / modules);                // [N·M, E]
        var chosen = Selection.TopMask(each.detach(), k).reshape(probabilities.shape);
        var load = TokenMean.OfRows(chosen.to(torch.float32), tokens) / k;                     // a module's sum to 1
        return (TokenMean.OfRows(probabilities, tokens) * load).sum();
    }

    /// <summary><c>Σ_i p̄_i²</c>, the variant of the paper's appendix A.17.</summary>
    /// <remarks>Shapes: [N, E] → scalar. Gradient: through p̄.</remarks>
    public static Tensor SquaredMean(Tensor probabilities, RoutedTokens? tokens)
    {
        var mean = TokenMean.OfRows(probabilities, tokens);
        return (mean * mean).sum();
    }

    /// <summary>The mean over tokens of <c>−Σ_i p_i ln p_i</c>.</summary>
    /// <remarks>Shapes: [N, E] → scalar. Units: nats. Gradient: through p; a probability of zero adds
    /// nothing.</remarks>
    public static Tensor MeanEntropy(Tensor probabilities, RoutedTokens? tokens)
    {
        var logarithm = probabilities.clamp(min: Tiny).log();
        return TokenMean.OfRows((probabilities * logarithm).neg(), tokens).sum();
    }
}

/// <summary>Keeps chosen parameters near their values before the router's training.</summary>
/// <remarks>Source: LoRA-Mixer, arXiv:2507.00029, eq. 11: <c>β Σ ‖θ − θ⁰‖²</c>. Gradient: through θ.</remarks>
public static class PreservationLoss
{
    /// <summary>The weighted squared distance of pairs (θ, θ⁰).</summary>
    /// <remarks>Shapes: equal in each pair, any → scalar.</remarks>
    public static Tensor Of(IReadOnlyList<(Tensor Now, Tensor Before)> pairs, double beta)
    {
        var squares = pairs.Select(pair =>
        {
            var change = pair.Now - pair.Before;
            return (change * change).sum();
        });
        return torch.stack([.. squares], 0).sum() * beta;
    }
}
