namespace Peft.Adapters.Routing;

/// <summary>Entropy of each token's routing distribution as a share of the most it can be.</summary>
/// <remarks>
/// Source: DynMoLE, arXiv:2504.00661; mikecovlee/DynMoLE 382915a, <c>moe_utils.py</c>. eps is added to every probability and
/// the sum is not renormalised, so a uniform row gives almost and not exactly 1, as in that code.
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
        ArgumentNullException.ThrowIfNull(probabilities);
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
        ArgumentNullException.ThrowIfNull(probabilities);
        if (a == 1)
            return Tsallis(probabilities, 1, eps);
        var sum = (probabilities + eps).pow(a).sum(-1L);
        return (sum + RenyiTiny).log() / (1 - a) / Math.Log(probabilities.shape[^1]);
    }
}
