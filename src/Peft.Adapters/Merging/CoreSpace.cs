namespace Peft.Adapters.Merging;

/// <summary>The small space in which all adapters of a module live: two bases, and each adapter's update as a matrix
/// between them.</summary>
/// <remarks>
/// Source: Core Space, arXiv:2509.17786: V are the right singular vectors of the A stacked, U the left ones of the s B
/// side by side, <c>M_t = Uᵀ s_t B_t A_t V</c>; nothing is lost, <c>s_t B_t A_t = U M_t Vᵀ</c>. The authors' code
/// drops alpha / r; here every scale and weight is in B.
/// Shapes: Left U [O, Ku], Right Vᵀ [Kv, D], each core [Ku, Kv], Ku ≤ min(Σ R, O), Kv ≤ min(Σ R, D). Units: float64.
/// </remarks>
public sealed record CoreSpace(Tensor Left, Tensor Right, IReadOnlyList<Tensor> Cores)
{
    /// <summary>Singular values below this share of the largest count as zero.</summary>
    public const double Tolerance = 1e-5;

    /// <summary>The space of a module's adapters.</summary>
    public static CoreSpace Of(MergeInputs inputs)
    {
        var (downs, ups) = inputs.InFloat64();
        var (_, _, right) = torch.linalg.svd(torch.cat(downs, 0), fullMatrices: false);
        var (left, _, _) = torch.linalg.svd(torch.cat(ups, 1), fullMatrices: false);
        return new(
            left, right, [.. ups.Zip(downs, (up, down) => left.t().mm(up).mm(down.mm(right.t())))]);
    }

    /// <summary>A core between the bases as the update of a LoRA: λ U M Vᵀ.</summary>
    /// <remarks>Shapes: core [Ku, Kv] → A [K, D], B [O, K], K = min(Ku, Kv).</remarks>
    public LowRankUpdate Update(Tensor core, double lambda) => core.shape[0] < core.shape[1]
        ? new LowRankUpdate(core.mm(Right) * lambda, Left)
        : new LowRankUpdate(Right, Left.mm(core) * lambda);
}

/// <summary>A merge of the adapters' cores (<see cref="CoreSpace"/>), whatever their ranks.</summary>
/// <param name="name">Its name.</param>
/// <param name="description">One line for help texts.</param>
public abstract class CoreMerge(string name, string description) : StaticMerge(name, description)
{
    /// <inheritdoc/>
    protected override IReadOnlyList<string> OwnOptions => [MergeOptions.LambdaName];

    /// <inheritdoc/>
    public override int RankOf(MergeSizes sizes, MergeOptions options) => sizes.AtMost(options.Rank ?? sizes.Sum);

    /// <inheritdoc/>
    public override LowRankUpdate Merge(MergeInputs inputs, MergeOptions options)
    {
        using var scope = torch.NewDisposeScope();
        var space = CoreSpace.Of(inputs);
        var ranks = inputs.Sizes.Ranks;
        var update = space.Update(Combine(space.Cores, ranks, options), options.Lambda);
        var (down, up) = LowRank.WithRank(update, RankOf(inputs.Sizes, options));
        return new LowRankUpdate(down.MoveToOuterDisposeScope(), up.MoveToOuterDisposeScope());
    }

    /// <summary>Merges matrices of one shape.</summary>
    /// <remarks>Shapes: as the matrices, float64.</remarks>
    /// <param name="cores">The matrices.</param>
    /// <param name="ranks">The rank that each can have.</param>
    /// <param name="options">The settings.</param>
    public abstract Tensor Combine(IReadOnlyList<Tensor> cores, IReadOnlyList<int> ranks, MergeOptions options);

    /// <summary>U Vᵀ of a matrix's SVD, over its nonzero singular values: what is zero has no direction.</summary>
    /// <remarks>Shapes: as the matrix.</remarks>
    protected static Tensor Polar(Tensor matrix)
    {
        var (u, s, vh) = torch.linalg.svd(matrix, fullMatrices: false);
        var rank = LowRank.RankOf(s, CoreSpace.Tolerance);
        return u.narrow(1, 0, rank).mm(vh.narrow(0, 0, rank));
    }

    /// <summary>The leading triplets of a matrix, as many as are asked for and not zero.</summary>
    /// <remarks>Shapes: [O, D] → U [O, K], S [K], Vᵀ [K, D].</remarks>
    /// <param name="matrix">The matrix.</param>
    /// <param name="most">How many at most.</param>
    /// <param name="bound">What counts as zero; null: <see cref="CoreSpace.Tolerance"/> of the largest.</param>
    protected static (Tensor U, Tensor S, Tensor Vh) Leading(Tensor matrix, int most, double? bound = null)
    {
        var (u, s, vh) = torch.linalg.svd(matrix, fullMatrices: false);
        var kept = Math.Min(most, LowRank.RankAbove(s, bound ?? CoreSpace.Tolerance * s.max().ToDouble()));
        return (u.narrow(1, 0, kept), s.narrow(0, 0, kept), vh.narrow(0, 0, kept));
    }

    /// <summary>Blocks of triplets side by side with orthogonal directions: polar(U) diag(S) polar(V)ᵀ.</summary>
    /// <remarks>Shapes: as the matrix that the triplets are of. S null: the mean of all singular values for
    /// each.</remarks>
    protected static Tensor Orthogonal(IReadOnlyList<(Tensor U, Tensor S, Tensor Vh)> blocks, bool levels)
    {
        var s = torch.cat([.. blocks.Select(block => block.S)], 0);
        if (levels && s.numel() > 0)
            s = s.mean().expand(s.shape[0]);
        return (Polar(torch.cat([.. blocks.Select(block => block.U)], 1)) * s)
            .mm(Polar(torch.cat([.. blocks.Select(block => block.Vh)], 0)));
    }
}

/// <summary>TIES on the cores.</summary>
/// <remarks>Source: Core Space, arXiv:2509.17786, with its code's rule (<see cref="Trimming.AtLeast"/>): it keeps the
/// top 10 % of a core's entries and means those that agree with the sum's sign.</remarks>
public sealed class CoreTiesMerge() : CoreMerge("core-ties", "TIES in the adapters' common core space (Core Space)")
{
    /// <inheritdoc/>
    public override double FirstDensity => 0.1;

    /// <inheritdoc/>
    protected override IReadOnlyList<string> OwnOptions => [MergeOptions.LambdaName, MergeOptions.DensityName];

    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<Tensor> cores, IReadOnlyList<int> ranks, MergeOptions options) =>
        Trimming.AgreeingMean([.. cores.Select(core => Trimming.Largest(core, DensityOf(options)))]);
}

/// <summary>The leading singular directions of each core, made orthogonal to one another.</summary>
/// <remarks>
/// Source: TSV-M, arXiv:2412.00081, inside Core Space: <c>M = polar(U_c) diag(S_c) polar(V_c)ᵀ</c> of ⌊K / T⌋ triplets
/// a task, K the smaller side. Over whole updates it would take triplets that are zero and have no direction; here
/// at most those that there are.
/// </remarks>
public sealed class CoreTsvMerge()
    : CoreMerge("core-tsv", "leading singular directions of each adapter made orthogonal (TSV-M in Core Space)")
{
    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<Tensor> cores, IReadOnlyList<int> ranks, MergeOptions options)
    {
        var most = (int)cores[0].shape.Min() / cores.Count;
        return Orthogonal([.. cores.Zip(ranks, (core, rank) => Leading(core, Math.Min(most, rank)))], levels: false);
    }
}

/// <summary>The sum of the cores with equal singular values.</summary>
/// <remarks>Source: Iso-C, arXiv:2502.04959, inside Core Space: <c>mean(S) U Vᵀ</c> of the sum; over the nonzero
/// singular values, of which a low-rank sum of whole updates has too few.</remarks>
public sealed class CoreIsoCMerge()
    : CoreMerge("core-iso-c", "the sum with equal singular values (Iso-C in Core Space)")
{
    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<Tensor> cores, IReadOnlyList<int> ranks, MergeOptions options)
    {
        var sum = cores.Aggregate((one, other) => one + other);
        return Orthogonal([Leading(sum, (int)sum.shape.Min())], levels: true);
    }
}

/// <summary>The leading directions of the sum, and of each core what lies outside them, with equal singular
/// values.</summary>
/// <remarks>
/// Source: Iso-CTS, arXiv:2502.04959, inside Core Space; danielm1405/iso-merging, iso.py: of n directions ⌊f n⌋ are
/// common, the rest divided among the tasks (rounded half to even, what is left or missing goes to the common ones);
/// a task's are the leading triplets of its core less its part in the common left directions.
/// </remarks>
public sealed class CoreIsoCtsMerge()
    : CoreMerge("core-iso-cts", "common and own directions with equal singular values (Iso-CTS in Core Space)")
{
    /// <inheritdoc/>
    protected override IReadOnlyList<string> OwnOptions => [MergeOptions.LambdaName, MergeOptions.CommonName];

    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<Tensor> cores, IReadOnlyList<int> ranks, MergeOptions options)
    {
        var (common, own) = Shares((int)cores[0].shape.Min(), cores.Count, options.Common);
        var sum = cores.Aggregate((one, other) => one + other);
        var shared = Leading(sum, common);
        var blocks = cores.Zip(ranks, (core, rank) =>
        {
            var bound = CoreSpace.Tolerance * torch.linalg.matrix_norm(core, 2).ToDouble();
            return Leading(core - shared.U.mm(shared.U.t().mm(core)), Math.Min(own, rank), bound);
        });
        return Orthogonal([.. blocks, shared], levels: true);
    }

    /// <summary>How many of n directions are common, and each task's own.</summary>
    public static (int Common, int Own) Shares(int n, int tasks, double common)
    {
        var own = (int)Math.Round((n - Math.Floor(common * n)) / tasks, MidpointRounding.ToEven);
        own = Math.Min(own, n / tasks);
        return (n - own * tasks, own);
    }
}
