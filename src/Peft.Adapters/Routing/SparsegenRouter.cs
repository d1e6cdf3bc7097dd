using System.Globalization;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="SparsegenRouter"/>.</summary>
public sealed record SparsegenRouterOptions : ExpertRouterOptions
{
    /// <summary>Width of the network that predicts the sparsity; one network for all projections of the same input
    /// width.</summary>
    /// <value>Default 256 (the code uses 256 and 512); from 1.</value>
    [Key(Min = 1, Max = 65536)]
    public int HiddenSize { get; init; } = 256;

    /// <summary>How far the sparsity stays below 1.</summary>
    /// <value>Default 0.01; above 0, up to 1.</value>
    [Key(Min = 1e-6, Max = 1)]
    public double Eps { get; init; } = 0.01;

    /// <summary>Experts a token should use at most; the sparsity loss pushes towards it.</summary>
    /// <value>Default 2; from 1 to below the number of experts.</value>
    [Key(Min = 1), UpTo(Limit.ExpertsButOne)]
    public int TargetK { get; init; } = 2;

    /// <summary>Weight of the sparsity loss.</summary>
    /// <value>Default 0.01 (our choice); from 0.</value>
    [Key(Min = 0)]
    public double SparsityCoefficient { get; init; } = 0.01;

    /// <summary>Weight of the method's balance loss.</summary>
    /// <value>Default 0.01 (our choice); from 0.</value>
    [Key(Min = 0)]
    public double BalanceCoefficient { get; init; } = 0.01;

    /// <inheritdoc/>
    public override IEnumerable<IneffectiveKey> Ineffective() =>
    [
        .. base.Ineffective(),
        .. IneffectiveKey.If(
            SparsityCoefficient == 0, "target_k", TargetK, Math.Min(2, TargetK), "sparsity_coefficient: 0"),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<AuxiliaryTerm> OwnLosses()
    {
        var terms = new List<AuxiliaryTerm>();
        if (SparsityCoefficient > 0)
            terms.Add(new("sparsity", SparsityCoefficient, (records, tokens) =>
                ModuleMean.Of(records, alike => SparsityLoss(alike, tokens))));
        if (BalanceCoefficient > 0)
            terms.Add(new("sparse_balance", BalanceCoefficient, (records, tokens) =>
                ModuleMean.Of(records, alike => Sparsegen.BalanceLoss(
                    ModuleMean.Beside(alike, record => record.Decision.Gates),
                    ModuleMean.Beside(alike, record => record.Decision.Selected), tokens, alike.Count))));
        return terms;
    }

    private Tensor SparsityLoss(IReadOnlyList<RoutingRecord> alike, RoutedTokens? tokens) => Sparsegen.SparsityLoss(
        ModuleMean.Beside(alike, record => record.Decision.Logits!),
        torch.stack([.. alike.Select(record => ((SparsegenDecision)record.Decision).Sparsity)], 1), TargetK, tokens);
}

/// <summary>A decision with the sparsity it was made with.</summary>
/// <remarks>Shapes: Sparsity [N], λ of the paper, below 1. Input and Network are what it was predicted from and the
/// first weight of what predicted it: to be recognised again, not read.</remarks>
public sealed record SparsegenDecision(
    Tensor Gates, Tensor Selected, Tensor Logits, Tensor Sparsity, Tensor Input, Tensor Network)
    : RoutingDecision(Gates, Selected, Gates, Logits)
{
    /// <inheritdoc/>
    public override IEnumerable<Tensor> Tensors => base.Tensors.Append(Sparsity);
}

/// <summary>Projects each token's scores onto the simplex, the sparser the larger the sparsity that a small network
/// predicts.</summary>
/// <remarks>
/// Source: LD-MoLE, arXiv:2509.25684; eshentw/LD-MoLE <c>sparsegen.py</c>: <c>λ = LogSigmoid(MLP(x)) + 1 − eps</c>, MLP
/// with one hidden layer and ReLU, shared by the projections of the same input width.
/// Shapes: x [N, D] → gates [N, E], which are the probabilities too.
/// Units: gates sum to 1.
/// Gradient: through scores and sparsity.
/// </remarks>
public sealed class SparsegenRouter : Router
{
    private const double FirstBias = -2.5;

    private readonly SparsegenRouterOptions _options;
    private readonly Parameter _weight;
    private readonly Parameters _sparsity;

    /// <summary>Makes the router of one projection.</summary>
    public SparsegenRouter(SparsegenRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewGate();
        var name = "sparsity_" + context.Width.ToString(CultureInfo.InvariantCulture);
        _sparsity = context.Common(name, () => FirstSparsity(name), out var isOwner);
        if (!isOwner)
            return;
        register_parameter("sparsity_in", _sparsity.In);
        register_parameter("sparsity_in_bias", _sparsity.InBias);
        register_parameter("sparsity_out", _sparsity.Out);
        register_parameter("sparsity_out_bias", _sparsity.OutBias);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var logits = Score(x, _weight);
        var sparsity = Predicted(x, pass) ?? Fused.predicted_sparsity(
            x, _sparsity.In, _sparsity.InBias, _sparsity.Out, _sparsity.OutBias, _options.Eps);
        var (gates, open) = Sparsegen.Project(logits, sparsity, _options.Eps);
        return new SparsegenDecision(gates, open, logits, sparsity, x, _sparsity.In);
    }

    /// <inheritdoc/>
    /// <remarks>The hidden layer.</remarks>
    public override long KeptBytes(int width) => (long)width * _options.HiddenSize;

    // Query, key and value have one input and one network, gate and up too: the network is most of what this router
    // costs.
    private Tensor? Predicted(Tensor x, ForwardPass pass) =>
        pass.Records<RoutingRecord>() is [.., { Decision: SparsegenDecision before }]
            && ReferenceEquals(before.Input, x) && ReferenceEquals(before.Network, _sparsity.In)
            ? before.Sparsity
            : null;

    private Parameters FirstSparsity(string name)
    {
        return new Parameters(
            Take("sparsity_in", [_options.HiddenSize, Context.Width], weight => Kaiming(weight, "in")),
            Take("sparsity_in_bias", [_options.HiddenSize], bias => bias.fill_(FirstBias)),
            Take("sparsity_out", [1, _options.HiddenSize], weight => Kaiming(weight, "out")),
            Take("sparsity_out_bias", [1], bias => bias.fill_(FirstBias)));

        void Kaiming(Tensor weight, string part) =>
            Seeded.kaiming_uniform_(weight, 0, Seeds.GeneratorFor(Context.Seed, $"router.{name}.{part}"));
    }

    private sealed record Parameters(Parameter In, Parameter InBias, Parameter Out, Parameter OutBias);
}

/// <summary>The sparse projection of LD-MoLE and its losses.</summary>
/// <remarks>Source: arXiv:2509.25684; eshentw/LD-MoLE <c>peft/utils/sparsegen.py</c>, <c>loss/loss.py</c>.</remarks>
public static class Sparsegen
{
    /// <summary><c>p = max(u − τ, 0) / max(1 − λ, eps)</c>, τ such that p sums to 1.</summary>
    /// <remarks>
    /// Source: with u sorted downwards, <c>k = max{j : 1 − λ + j u_(j) > Σ_{i≤j} u_(i)}</c> and <c>τ = (Σ_{i≤k} u_(i) −
    /// 1 + λ) / k</c>. Shapes: scores [N, E], sparsity [N] → gates [N, E], and which are open, bool [N, E]; a score
    /// that meets τ but for rounding is open with a gate of zero. Gradient: through both; k is constant.
    /// </remarks>
    public static (Tensor Gates, Tensor Open) Project(Tensor scores, Tensor sparsity, double eps) =>
        Fused.sparsegen(scores, sparsity, eps);

    /// <summary>The least and the largest sparsity with exactly k experts.</summary>
    /// <remarks>Shapes: scores [N, E] → two of [N]. Gradient: none.</remarks>
    public static (Tensor Lower, Tensor Upper) Bounds(Tensor scores, int k)
    {
        using var off = torch.no_grad();
        var sorted = Fused.largest(scores.detach(), (int)Math.Min(k + 1, scores.shape[^1]));
        var sum = sorted.narrow(-1, 0, k).sum(-1L);
        var last = sorted.narrow(-1, k - 1, 1).squeeze(-1);
        var next = sorted.narrow(-1, Math.Min(k, sorted.shape[^1] - 1), 1).squeeze(-1);
        return (1 - (sum - next * k), 1 - (sum - last * k));
    }

    /// <summary><c>mean relu(λ_low(k) − λ)</c>: pushes towards at most k experts.</summary>
    /// <remarks>Shapes: scores [N, M·E] of M modules side by side, sparsity [N, M], tokens.Mask [N] or null → scalar,
    /// the sum of the modules' losses. Gradient: through λ only.</remarks>
    public static Tensor SparsityLoss(Tensor scores, Tensor sparsity, int k, RoutedTokens? tokens)
    {
        var lower = Bounds(scores.reshape(sparsity.numel(), -1), k).Lower.reshape(sparsity.shape);
        return TokenMean.OfRows((lower - sparsity).relu(), tokens).sum();
    }

    /// <summary><c>E Σ_i prop_i freq_i</c>: mean gate times the share of all open gates.</summary>
    /// <remarks>Shapes: gates [N, M·E] of M modules side by side, open bool [N, M·E], tokens.Mask [N] or null → scalar,
    /// the sum of the modules' losses. Gradient: through the gates; the share counts.</remarks>
    public static Tensor BalanceLoss(Tensor gates, Tensor open, RoutedTokens? tokens, int modules = 1)
    {
        var counts = TokenMean.OfRows(open.to(torch.float32), tokens).reshape(modules, -1);      // [M, E]
        var share = counts / counts.sum(-1, keepdim: true).clamp(min: 1e-20);
        return (TokenMean.OfRows(gates, tokens).reshape(modules, -1) * share).sum() * counts.shape[1];
    }
}
