using Peft.Torch;

namespace Peft.Evaluation.Routing;

/// <summary>How alike the experts' updates of one projection are.</summary>
public static class ExpertSimilarity
{
    /// <summary>Cosines of ΔW_e = B_e A_e and ΔW_f under the Frobenius product, from the factors alone.</summary>
    /// <remarks>
    /// Source: ⟨B_e A_e, B_f A_f⟩ = tr(A_eᵀ B_eᵀ B_f A_f) = Σ (B_eᵀ B_f) ∘ (A_e A_fᵀ): two products [C, C] instead of matrices [O, D].
    /// Scales above zero do not change a cosine. An expert without update (B = 0) has cosine 0 with all others.
    /// Shapes: result [E][E]. Gradient: none.
    /// </remarks>
    /// <param name="a">The experts' A, one after another, [C, D].</param>
    /// <param name="b">The experts' B, one after another, [O, C].</param>
    /// <param name="ranks">Rank of each expert; their sum is C.</param>
    /// <exception cref="ArgumentException">Factors and ranks do not fit.</exception>
    public static IReadOnlyList<IReadOnlyList<double>> Cosines(Tensor a, Tensor b, IReadOnlyList<int> ranks)
    {
        var total = ranks.Sum();
        if (a.shape[0] != total || b.shape[1] != total)
            throw new ArgumentException($"A {a.shape[0]}, B {b.shape[1]} columns: the ranks add up to {total}", nameof(ranks));
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var (af, bf) = (a.to(torch.float32), b.to(torch.float32));
        var products = (af.matmul(af.transpose(0, 1)) * bf.transpose(0, 1).matmul(bf)).contiguous().data<float>().ToArray(); // [C, C]
        var starts = ranks.Select((_, e) => ranks.Take(e).Sum()).ToList();
        var inner = ranks.Select((_, e) => ranks.Select((_, f) => Sum(e, f)).ToArray()).ToArray();
        return [.. inner.Select((row, e) => (IReadOnlyList<double>)[.. row.Select((product, f) => Cosine(product, inner[e][e], inner[f][f], e == f))])];

        double Sum(int e, int f)
        {
            var sum = 0.0;
            for (var i = 0; i < ranks[e]; i++)
            {
                for (var j = 0; j < ranks[f]; j++)
                    sum += products[(starts[e] + i) * total + starts[f] + j];
            }
            return sum;
        }
    }

    private static double Cosine(double product, double first, double second, bool isSame) =>
        first <= 0 || second <= 0 ? 0 : isSame ? 1 : Math.Clamp(product / Math.Sqrt(first * second), -1, 1);
}
