namespace Peft.Adapters.Routing;

/// <summary>The sparse projection of LD-MoLE and its losses.</summary>
/// <remarks>Source: arXiv:2509.25684; eshentw/LD-MoLE <c>peft/utils/sparsegen.py</c>, <c>loss/loss.py</c>.</remarks>
public static class Sparsegen
{
    private const double Rounding = 1e-6;

    /// <summary><c>p = max(u − τ, 0) / max(1 − λ, eps)</c>, τ such that p sums to 1.</summary>
    /// <remarks>
    /// Source: with u sorted downwards, <c>k = max{j : 1 − λ + j u_(j) > Σ_{i≤j} u_(i)}</c> and <c>τ = (Σ_{i≤k} u_(i) − 1 + λ) / k</c>.
    /// Shapes: scores [N, E], sparsity [N] → gates [N, E], and which are open, bool [N, E]; a score that meets τ but for rounding is
    /// open with a gate of zero. Gradient: through both; k is constant.
    /// </remarks>
    public static (Tensor Gates, Tensor Open) Project(Tensor scores, Tensor sparsity, double eps)
    {
        ArgumentNullException.ThrowIfNull(scores);
        ArgumentNullException.ThrowIfNull(sparsity);
        var left = (1 - sparsity).unsqueeze(-1);                                               // [N, 1]
        var (sorted, _) = scores.sort(-1, descending: true, stable: true);
        var sums = sorted.cumsum(-1);                                                          // [N, E]
        var place = torch.arange(scores.shape[^1], torch.float32, scores.device) + 1;
        var support = (left + sorted * place).gt(sums).detach().to(torch.float32).sum(-1, keepdim: true).clamp(min: 1);
        var tau = (sums.gather(-1, support.to(torch.int64) - 1) - left) / support;             // [N, 1]
        var above = scores - tau;
        return (above.relu() / left.clamp(min: eps), above.detach().gt(-Rounding));
    }

    /// <summary>The least and the largest sparsity with exactly k experts.</summary>
    /// <remarks>Shapes: scores [N, E] → two of [N]. Gradient: none.</remarks>
    public static (Tensor Lower, Tensor Upper) Bounds(Tensor scores, int k)
    {
        ArgumentNullException.ThrowIfNull(scores);
        using var off = torch.no_grad();
        var (sorted, _) = scores.detach().sort(-1, descending: true, stable: true);
        var sum = sorted.narrow(-1, 0, k).sum(-1L);
        var last = sorted.narrow(-1, k - 1, 1).squeeze(-1);
        var next = sorted.narrow(-1, Math.Min(k, sorted.shape[^1] - 1), 1).squeeze(-1);
        return (1 - (sum - next * k), 1 - (sum - last * k));
    }

    /// <summary><c>mean relu(λ_low(k) − λ)</c>: pushes towards at most k experts.</summary>
    /// <remarks>Shapes: scores [N, E], sparsity [N], mask [N] or null → scalar. Gradient: through λ only.</remarks>
    public static Tensor SparsityLoss(Tensor scores, Tensor sparsity, int k, Tensor? mask) =>
        TokenMean.OfRows((Bounds(scores, k).Lower - sparsity).relu().unsqueeze(1), mask).sum();

    /// <summary><c>E Σ_i prop_i freq_i</c>: mean gate times the share of all open gates.</summary>
    /// <remarks>Shapes: gates [N, E], open bool [N, E], mask [N] or null → scalar. Gradient: through the gates; the share counts.</remarks>
    public static Tensor BalanceLoss(Tensor gates, Tensor open, Tensor? mask)
    {
        ArgumentNullException.ThrowIfNull(gates);
        ArgumentNullException.ThrowIfNull(open);
        var counts = TokenMean.OfRows(open.to(torch.float32), mask);                           // [E]
        var share = counts / counts.sum().clamp(min: 1e-20);
        return (TokenMean.OfRows(gates, mask) * share).sum() * gates.shape[1];
    }

    /// <summary><c>ln σ(x)</c>, without overflow.</summary>
    public static Tensor LogSigmoid(Tensor x)
    {
        ArgumentNullException.ThrowIfNull(x);
        return x.clamp(max: 0) - x.abs().neg().exp().log1p();
    }
}
