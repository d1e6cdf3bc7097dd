using Peft.Adapters.Merging;

namespace Peft.Evaluation.Routing;

/// <summary>Numbers about distributions over experts.</summary>
public static class RoutingMath
{
    /// <summary>Shannon entropy of a distribution, in nats.</summary>
    /// <remarks>Source: H(p) = −Σ p ln p, with 0 ln 0 = 0.</remarks>
    public static double Entropy(IReadOnlyList<double> probabilities) =>
        -probabilities.Where(p => p > 0).Sum(p => p * Math.Log(p));

    /// <summary>
    /// How many experts carry the weight: from 1 (one of them) to E (all alike); 0 where there is no weight.
    /// </summary>
    /// <remarks>Source: ESS(π) = ‖π‖₁² / ‖π‖₂², ReMix, arXiv:2603.10160.</remarks>
    public static double EffectiveSupportSize(IReadOnlyList<double> weights)
    {
        var (sum, squares) = (weights.Sum(Math.Abs), weights.Sum(w => w * w));
        return squares > 0 ? sum * sum / squares : 0;
    }

    /// <summary>Mutual information of task and expert, in nats, all tasks counting alike.</summary>
    /// <remarks>Source: I(T; E) = Σ_t 1/T Σ_e p(e|t) ln (p(e|t) / p(e)), p(e) = Σ_t p(e|t) / T.</remarks>
    /// <param name="matrix">[tasks][E], p(e|t); rows sum to 1.</param>
    public static double MutualInformation(IReadOnlyList<IReadOnlyList<double>> matrix)
    {
        if (matrix.Count == 0)
            return 0;
        var experts = Enumerable.Range(0, matrix[0].Count).Select(e => matrix.Average(row => row[e])).ToList();
        // H(E) − H(E|T); rounding must not make it negative.
        return Math.Max(0, Entropy(experts) - matrix.Average(Entropy));
    }

    /// <summary>
    /// Mutual information over the most that so many tasks and experts allow: 0 (tasks use the same experts) to 1.
    /// </summary>
    /// <remarks>Source: I(T; E) / min(ln T, ln E); 1 for the identity matrix. 0 with one task or one expert.</remarks>
    /// <param name="matrix">[tasks][E], rows sum to 1.</param>
    public static double NormalizedMutualInformation(IReadOnlyList<IReadOnlyList<double>> matrix)
    {
        var most = matrix.Count == 0 ? 0 : Math.Min(Math.Log(matrix.Count), Math.Log(matrix[0].Count));
        return most > 0 ? MutualInformation(matrix) / most : 0;
    }

    /// <summary>How far two distributions are apart: 0 alike, 1 with nothing in common.</summary>
    /// <remarks>Source: total variation, ½ ‖p − q‖₁.</remarks>
    public static double TotalVariation(IReadOnlyList<double> p, IReadOnlyList<double> q) =>
        p.Zip(q).Sum(pair => Math.Abs(pair.First - pair.Second)) / 2;
}

/// <summary>How alike the experts' updates of one projection are.</summary>
public static class ExpertSimilarity
{
    /// <summary>Cosines of ΔW_e = B_e A_e and ΔW_f under the Frobenius product, from the factors alone.</summary>
    /// <remarks>
    /// Source: <see cref="LowRank.InnerProducts"/>.
    /// Scales above zero do not change a cosine. An expert without update (B = 0) has cosine 0 with all others.
    /// Shapes: result [E][E]. Gradient: none.
    /// </remarks>
    /// <param name="a">The experts' A, one after another, [C, D].</param>
    /// <param name="b">The experts' B, one after another, [O, C].</param>
    /// <param name="ranks">Rank of each expert; their sum is C.</param>
    /// <exception cref="ArgumentException">Factors and ranks do not fit.</exception>
    public static IReadOnlyList<IReadOnlyList<double>> Cosines(Tensor a, Tensor b, IReadOnlyList<int> ranks)
    {
        var inner = LowRank.InnerProducts(a, b, ranks);
        return [.. ranks.Select((_, e) => (IReadOnlyList<double>)
            [.. ranks.Select((_, f) => Cosine(inner[e, f], inner[e, e], inner[f, f], e == f))])];
    }

    private static double Cosine(double product, double first, double second, bool isSame) =>
        first <= 0 || second <= 0 ? 0 : isSame ? 1 : Math.Clamp(product / Math.Sqrt(first * second), -1, 1);
}
