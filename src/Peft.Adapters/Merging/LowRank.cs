namespace Peft.Adapters.Merging;

/// <summary>A module's update as a product of two factors: B A.</summary>
/// <param name="Down">A, [R, D].</param>
/// <param name="Up">B, [O, R].</param>
public sealed record LowRankUpdate(Tensor Down, Tensor Up)
{
    /// <summary>The product.</summary>
    /// <remarks>Shapes: [O, D].</remarks>
    public Tensor Product() => Up.mm(Down);
}

/// <summary>Singular value decompositions of products of factors, exact and without the product where the rank is
/// small.</summary>
public static class LowRank
{
    /// <summary>B A = U diag(S) Vh, from a QR decomposition of each factor and the SVD of the small core.</summary>
    /// <remarks>
    /// B = Qb Rb and Aᵀ = Qa Ra give B A = Qb (Rb Raᵀ) Qaᵀ.
    /// Shapes: A [R, D], B [O, R] → U [O, K], S [K] falling, Vh [K, D], K ≤ R. Units: computed and returned in float64.
    /// </remarks>
    public static (Tensor U, Tensor S, Tensor Vh) Svd(LowRankUpdate update)
    {
        var (qa, ra) = torch.linalg.qr(update.Down.to(torch.float64).t());                     // [D, Ka], [Ka, R]
        var (qb, rb) = torch.linalg.qr(update.Up.to(torch.float64));                           // [O, Kb], [Kb, R]
        var (u, s, vh) = torch.linalg.svd(rb.mm(ra.t()), fullMatrices: false);                    // of [Kb, Ka]
        return (qb.mm(u), s, vh.mm(qa.t()));
    }

    /// <summary>The best approximation of rank R: B = U diag(S), A = Vh, the R largest singular values.</summary>
    /// <remarks>Source: Eckart and Young; PEFT's <c>svd</c>. Shapes: → A [R, D], B [O, R] float32; missing ranks are
    /// zeros.</remarks>
    public static LowRankUpdate Truncate(LowRankUpdate update, int rank)
    {
        var (R, D, O) = (update.Down.shape[0], update.Down.shape[1], update.Up.shape[0]);
        // With as many ranks as the smaller side the core would be no smaller than the product.
        if (R >= Math.Min(O, D))
            return Truncate(update.Product(), rank);
        var (u, s, vh) = Svd(update);
        var kept = Math.Min(rank, s.shape[0]);
        var up = u.narrow(1, 0, kept) * s.narrow(0, 0, kept).unsqueeze(0);
        return Padded(new LowRankUpdate(vh.narrow(0, 0, kept).to(torch.float32), up.to(torch.float32)), rank);
    }

    /// <summary>The same of a matrix that is there as a whole.</summary>
    /// <remarks>From the eigenvectors of the smaller of ΔᵀΔ and ΔΔᵀ, in float64. Shapes: dense [O, D].</remarks>
    public static LowRankUpdate Truncate(Tensor dense, int rank)
    {
        using var scope = torch.NewDisposeScope();
        var (down, up) = FactorsOf(dense, rank);
        return new LowRankUpdate(down.MoveToOuterDisposeScope(), up.MoveToOuterDisposeScope());
    }

    private static LowRankUpdate FactorsOf(Tensor dense, int rank)
    {
        var delta = dense.to(torch.float64);
        var (O, D) = (delta.shape[0], delta.shape[1]);
        var kept = Math.Min(rank, Math.Min(O, D));
        if (D <= O)
        {
            var v = Leading(delta.t().mm(delta), kept);                                    // [D, K]
            return Padded(new LowRankUpdate(v.t().to(torch.float32), delta.mm(v).to(torch.float32)), rank);
        }
        var u = Leading(delta.mm(delta.t()), kept);                                        // [O, K]
        return Padded(new LowRankUpdate(u.t().mm(delta).to(torch.float32), u.to(torch.float32)), rank);
    }

    /// <summary>⟨B_i A_i, B_j A_j⟩ under the Frobenius product for every two updates, from their factors
    /// alone.</summary>
    /// <remarks>
    /// Source: tr(A_iᵀ B_iᵀ B_j A_j) is the sum over a block of (Bᵀ B) ∘ (A Aᵀ): two products [C, C] instead of
    /// matrices [O, D]. Shapes: down [C, D] and up [O, C], the updates' factors one after another; ranks, which add up
    /// to C; result [P, P]. Gradient: none.
    /// </remarks>
    /// <exception cref="ArgumentException">Factors and ranks do not fit.</exception>
    public static double[,] InnerProducts(Tensor down, Tensor up, IReadOnlyList<int> ranks)
    {
        var total = ranks.Sum();
        if (down.shape[0] != total || up.shape[1] != total)
            throw new ArgumentException(
                $"A {down.shape[0]}, B {up.shape[1]} columns: the ranks add up to {total}", nameof(ranks));
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var (a, b) = (down.to(torch.float32), up.to(torch.float32));
        var gram = (a.mm(a.t()) * b.t().mm(b)).Values<float>();             // [C, C]
        int[] owner = [.. ranks.SelectMany((rank, update) => Enumerable.Repeat(update, rank))];
        var products = new double[ranks.Count, ranks.Count];
        for (var i = 0; i < total; i++)
        {
            for (var j = 0; j < total; j++)
                products[owner[i], owner[j]] += gram[i * total + j];
        }
        return products;
    }

    /// <summary>How many singular values, falling, are more than a share of the largest.</summary>
    /// <remarks>Shapes: s [K] float64.</remarks>
    public static int RankOf(Tensor s, double tolerance) => RankAbove(s, tolerance * s.max().ToDouble());

    /// <summary>How many singular values, falling, are above a bound.</summary>
    /// <remarks>Shapes: s [K] float64.</remarks>
    public static int RankAbove(Tensor s, double bound) => (int)s.gt(bound).sum().ToInt64();

    /// <summary>A product with exactly the rank asked for: zeros added, or cut down as
    /// <see cref="Truncate(LowRankUpdate, int)"/> does.</summary>
    /// <remarks>Shapes: → A [R, D], B [O, R] float32.</remarks>
    public static LowRankUpdate WithRank(LowRankUpdate update, int rank) => update.Down.shape[0] > rank
        ? Truncate(update, rank)
        : Padded(new LowRankUpdate(update.Down.to(torch.float32), update.Up.to(torch.float32)), rank);

    // The eigenvectors of the K largest eigenvalues, the largest first.
    private static Tensor Leading(Tensor gram, long k)
    {
        var (_, vectors) = torch.linalg.eigh(gram);
        var size = vectors.shape[1];
        var order = torch.arange(size - 1, size - 1 - k, -1.0, torch.float64).to(torch.int64);
        return vectors.index_select(1, order);
    }

    private static LowRankUpdate Padded(LowRankUpdate update, long rank)
    {
        var missing = rank - update.Down.shape[0];
        if (missing == 0)
            return update;
        return new LowRankUpdate(
            torch.cat([update.Down, torch.zeros([missing, update.Down.shape[1]], torch.float32)], 0),
            torch.cat([update.Up, torch.zeros([update.Up.shape[0], missing], torch.float32)], 1));
    }
}
