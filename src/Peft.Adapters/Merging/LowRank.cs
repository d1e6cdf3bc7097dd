namespace Peft.Adapters.Merging;

/// <summary>A module's update as a product of two factors: B A.</summary>
/// <param name="Down">A, [R, D].</param>
/// <param name="Up">B, [O, R].</param>
public sealed record LowRankUpdate(Tensor Down, Tensor Up)
{
    /// <summary>The product.</summary>
    /// <remarks>Shapes: [O, D].</remarks>
    public Tensor Product() => Up.matmul(Down);
}

/// <summary>Singular value decompositions of products of factors, exact and without the product where the rank is small.</summary>
public static class LowRank
{
    /// <summary>B A = U diag(S) Vh, from a QR decomposition of each factor and the SVD of the small core.</summary>
    /// <remarks>
    /// B = Qb Rb and Aᵀ = Qa Ra give B A = Qb (Rb Raᵀ) Qaᵀ.
    /// Shapes: A [R, D], B [O, R] → U [O, K], S [K] falling, Vh [K, D], K ≤ R. Units: computed and returned in float64.
    /// </remarks>
    public static (Tensor U, Tensor S, Tensor Vh) Svd(LowRankUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        var (qa, ra) = torch.linalg.qr(update.Down.to(torch.float64).t());                     // [D, Ka], [Ka, R]
        var (qb, rb) = torch.linalg.qr(update.Up.to(torch.float64));                           // [O, Kb], [Kb, R]
        var (u, s, vh) = torch.linalg.svd(rb.matmul(ra.t()));                                  // of [Kb, Ka]
        return (qb.matmul(u), s, vh.matmul(qa.t()));
    }

    /// <summary>The best approximation of rank R: B = U diag(S), A = Vh, the R largest singular values.</summary>
    /// <remarks>Source: Eckart and Young; PEFT's <c>svd</c>. Shapes: → A [R, D], B [O, R] float32; missing ranks are zeros.</remarks>
    public static LowRankUpdate Truncate(LowRankUpdate update, int rank)
    {
        ArgumentNullException.ThrowIfNull(update);
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
        ArgumentNullException.ThrowIfNull(dense);
        var delta = dense.to(torch.float64);
        var (O, D) = (delta.shape[0], delta.shape[1]);
        var kept = Math.Min(rank, Math.Min(O, D));
        if (D <= O)
        {
            var v = Leading(delta.t().matmul(delta), kept);                                    // [D, K]
            return Padded(new LowRankUpdate(v.t().to(torch.float32), delta.matmul(v).to(torch.float32)), rank);
        }
        var u = Leading(delta.matmul(delta.t()), kept);                                        // [O, K]
        return Padded(new LowRankUpdate(u.t().matmul(delta).to(torch.float32), u.to(torch.float32)), rank);
    }

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
