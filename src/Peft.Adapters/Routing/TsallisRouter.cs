using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="TsallisRouter"/>; the defaults are the reference's.</summary>
public sealed record TsallisRouterOptions : ExpertRouterOptions
{
    /// <summary>The entropy of the reference.</summary>
    public const string Tsallis = "tsallis";

    /// <summary>The entropy of the reference's last commit.</summary>
    public const string Renyi = "renyi";

    /// <summary>Most probability that the kept experts have together.</summary>
    /// <value>Default 0.75; above 0, up to 1.</value>
    [Key(Min = 1e-6, Max = 1)]
    public double TopP { get; init; } = 0.75;

    /// <summary>Experts that always stay.</summary>
    /// <value>Default 2; from 1 to the number of experts.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public int KeepTopK { get; init; } = 2;

    /// <summary>Normalised entropy above which a token goes to all experts.</summary>
    /// <value>Default 0.9; above 0. From 1 on no token is.</value>
    [Key(Min = 1e-6)]
    public double Threshold { get; init; } = 0.9;

    /// <summary>Which entropy.</summary>
    /// <value>Default tsallis; tsallis or renyi.</value>
    [Key(Choices = [Tsallis, Renyi])]
    public string Entropy { get; init; } = Tsallis;

    /// <summary>Index q of the Tsallis entropy, order of Rényi's; 1 is Shannon's.</summary>
    /// <value>Default 1.1; above 0.</value>
    [Key(Min = 1e-6)]
    public double EntropyIndex { get; init; } = 1.1;

    /// <summary>Added to every probability inside the entropy.</summary>
    /// <value>Default 1e-5; from 0.</value>
    [Key(Min = 0, Max = 0.1)]
    public double Eps { get; init; } = 1e-5;

    /// <summary>Whether the expert that crosses top_p stays, as in nucleus sampling.</summary>
    /// <value>Default false, as in the reference.</value>
    [Key]
    public bool KeepCrossingExpert { get; init; }

    /// <summary>Whether the kept probabilities are divided by their sum.</summary>
    /// <value>Default false, as in the reference.</value>
    [Key]
    public bool Normalize { get; init; }

    /// <summary>Weight of the entropy loss.</summary>
    /// <value>Default 0.01; from 0.</value>
    [Key(Min = 0)]
    public double EntropyCoefficient { get; init; } = 0.01;

    /// <summary>Weight of the soft-count balance loss.</summary>
    /// <value>Default 0.001; from 0.</value>
    [Key(Min = 0)]
    public double BalanceCoefficient { get; init; } = 0.001;

    /// <summary>Whether padding counts in the entropy loss.</summary>
    /// <value>Default true, as in the reference. The balance loss never counts it.</value>
    [Key]
    public bool CountPadding { get; init; } = true;

    /// <summary>The normalised entropy that these options name.</summary>
    /// <remarks>Shapes: probabilities [N, E] → [N]. Gradient: through the probabilities.</remarks>
    public Tensor EntropyOf(Tensor probabilities) => Entropy == Renyi
        ? NormalizedEntropy.Renyi(probabilities, EntropyIndex, Eps)
        : NormalizedEntropy.Tsallis(probabilities, EntropyIndex, Eps);

    /// <inheritdoc/>
    public override IEnumerable<IneffectiveKey> Ineffective()
    {
        var first = new TsallisRouterOptions();
        var unused = EntropyCoefficient == 0 && Threshold >= 1;
        const string Off = "entropy_coefficient: 0 and a threshold of at least 1";
        return
        [
            .. base.Ineffective(),
            .. IneffectiveKey.If(unused, "entropy", Entropy, first.Entropy, Off),
            .. IneffectiveKey.If(unused, "entropy_index", EntropyIndex, first.EntropyIndex, Off),
            .. IneffectiveKey.If(unused, "eps", Eps, first.Eps, Off),
            .. IneffectiveKey.If(
                EntropyCoefficient == 0, "count_padding", CountPadding, first.CountPadding, "entropy_coefficient: 0"),
        ];
    }

    /// <inheritdoc/>
    public override IReadOnlyList<AuxiliaryTerm> OwnLosses()
    {
        var terms = new List<AuxiliaryTerm>();
        if (EntropyCoefficient > 0)
            terms.Add(
                new("entropy", EntropyCoefficient, (records, tokens) =>
                    EntropyLoss(records, CountPadding ? tokens.WithPadding() : tokens)));
        if (BalanceCoefficient > 0)
            terms.Add(
                new("soft_balance", BalanceCoefficient, (records, tokens) => SoftBalanceLoss(records, tokens)));
        return terms;
    }

    /// <summary>The mean normalised entropy over the tokens of all modules.</summary>
    /// <remarks>Source: DynMoLE 382915a. Shapes: records of [N, E], tokens.Mask [N] bool or null → scalar.
    /// Gradient: through
    /// the entropy.</remarks>
    public Tensor EntropyLoss(IReadOnlyList<RoutingRecord> records, RoutedTokens? tokens)
    {
        var entropy = EntropyOf(torch.cat([.. records.Select(r => r.Decision.Probabilities!)], 0)).unsqueeze(1);
        return TokenMean.OfRows(entropy, tokens?.Repeated(records.Count)).sum();
    }

    /// <summary><c>E Σ_i f_i P_i</c>, f the mean gate of an expert and P its mean probability, tokens of all modules
    /// pooled.</summary>
    /// <remarks>Source: DynMoLE 382915a; f has a gradient too. Shapes: records of [N, E] → scalar.</remarks>
    public static Tensor SoftBalanceLoss(IReadOnlyList<RoutingRecord> records, RoutedTokens? tokens)
    {
        var pooled = tokens?.Repeated(records.Count);
        var load = TokenMean.OfRows(torch.cat([.. records.Select(r => r.Decision.Gates)], 0), pooled);
        var mean = TokenMean.OfRows(torch.cat([.. records.Select(r => r.Decision.Probabilities!)], 0), pooled);
        return (load * mean).sum() * records[0].Experts;
    }
}

/// <summary>Sends a token whose distribution is flat to all experts, any other to its most probable ones.</summary>
/// <remarks>
/// Source: DynMoLE, arXiv:2504.00661; mikecovlee/DynMoLE 382915a: experts by falling probability while their sum is at
/// most top_p (the one that crosses is dropped), at least keep_top_k; all of them where the normalised entropy is above
/// the threshold. Weights are the raw probabilities, so their sum jumps to 1 at the threshold. Inference routes as
/// training does. Shapes: x [N, D] → gates [N, E].
/// Units: gates are probabilities.
/// Gradient: through the kept probabilities; neither the choice nor the entropy test carries one.
/// </remarks>
public sealed class TsallisRouter : Router
{
    private readonly TsallisRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public TsallisRouter(TsallisRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewGate();
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var (logits, probabilities) = Softmax(x, _weight);
        var selected = Select(probabilities, _options);
        return new RoutingDecision(
            Selection.Gates(probabilities, selected, _options.Normalize), selected, probabilities, logits);
    }

    /// <summary>The experts of every token.</summary>
    /// <remarks>Shapes: probabilities [N, E] → bool [N, E].</remarks>
    public static Tensor Select(Tensor probabilities, TsallisRouterOptions options)
    {
        using var off = torch.no_grad();
        var mask = Selection.NucleusMask(probabilities, options.TopP, options.KeepTopK, options.KeepCrossingExpert);
        return options.Threshold >= 1
            ? mask
            : mask.logical_or(options.EntropyOf(probabilities.detach()).gt(options.Threshold).unsqueeze(-1));
    }
}

/// <summary>Entropy of each token's routing distribution as a share of the most it can be.</summary>
/// <remarks>
/// Source: DynMoLE, arXiv:2504.00661; mikecovlee/DynMoLE 382915a, <c>moe_utils.py</c>. eps is added to every
/// probability and the sum is not renormalised, so a uniform row gives almost and not exactly 1, as in that code.
/// Shapes: probabilities [N, E] → [N].
/// Units: 0 for certainty to 1 for uniform.
/// Gradient: through the probabilities.
/// </remarks>
public static class NormalizedEntropy
{
    private const double RenyiTiny = 1e-10;

    /// <summary>Tsallis entropy of index q; Shannon's for q = 1.</summary>
    public static Tensor Tsallis(Tensor probabilities, double q, double eps, bool normalize = true)
    {
        var experts = (double)probabilities.shape[^1];
        var p = probabilities + eps;
        if (q == 1)
        {
            var shannon = (p * p.log()).sum(-1L).neg();
            return normalize ? shannon / Math.Log(experts) : shannon;
        }
        var entropy = (1 - p.pow(q).sum(-1L)) / (q - 1);
        return normalize ? entropy / ((1 - Math.Pow(experts, 1 - q)) / (q - 1)) : entropy;
    }

    /// <summary>Rényi entropy of order a; Shannon's for a = 1.</summary>
    public static Tensor Renyi(Tensor probabilities, double a, double eps)
    {
        if (a == 1)
            return Tsallis(probabilities, 1, eps);
        var sum = (probabilities + eps).pow(a).sum(-1L);
        return (sum + RenyiTiny).log() / (1 - a) / Math.Log(probabilities.shape[^1]);
    }
}
