using Peft.Adapters.Merging;

namespace Peft.Evaluation.Routing;

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
