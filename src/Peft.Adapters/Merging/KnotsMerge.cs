namespace Peft.Adapters.Merging;

/// <summary>TIES on the coordinates of all updates in the common left directions of their concatenation.</summary>
/// <remarks>
/// Source: KnOTS, arXiv:2410.19735; gstoica27/KnOTS, task_merger.py: <c>[Δ_1 | … | Δ_T] = U S [V_1 … V_T]</c> without
/// singular values up to 1e-5, TIES on the <c>C_t = S V_t</c>, each task trimmed over all modules at once, then
/// <c>λ U C</c>. Its Llama setting trims nothing and searches λ around 0.5; that of images keeps 20 %. The
/// decomposition is made of the factors: a QR of the B side by side, then a matrix with as many rows as ranks.
/// </remarks>
public sealed class KnotsTiesMerge() : StaticMerge("knots-ties", "TIES in common directions of all updates (KnOTS)")
{
    private const double SmallestValue = 1e-5;

    // A threshold for each adapter; none: nothing is trimmed.
    private Dictionary<int, double> _thresholds = [];

    /// <inheritdoc/>
    public override double FirstDensity => 1;

    /// <inheritdoc/>
    protected override IReadOnlyList<string> OwnOptions => [MergeOptions.LambdaName, MergeOptions.DensityName];

    /// <inheritdoc/>
    public override int RankOf(MergeSizes sizes, MergeOptions options) => sizes.AtMost(options.Rank ?? sizes.Sum);

    /// <inheritdoc/>
    public override StaticMerge Prepared(Func<IEnumerable<MergeInputs>> modules, MergeOptions options)
    {
        if (DensityOf(options) >= 1)
            return this;
        using var off = torch.no_grad();
        var orders = new Dictionary<int, MagnitudeOrder>();
        void Pass(Action<MagnitudeOrder, Tensor> take)
        {
            foreach (var inputs in modules())
            {
                using var scope = torch.NewDisposeScope();
                var (_, parts) = Directions(inputs);
                foreach (var (input, part) in inputs.Present.Zip(parts))
                {
                    if (!orders.TryGetValue(input.Adapter, out var order))
                        orders[input.Adapter] = order = new MagnitudeOrder();
                    take(order, Coordinates(part));
                }
            }
        }
        Pass((order, values) => order.First(values));
        foreach (var order in orders.Values)
            order.Seek(Math.Max(1, order.Count - (long)Math.Floor(DensityOf(options) * order.Count)));
        Pass((order, values) => order.Second(values));
        return new KnotsTiesMerge { _thresholds = orders.ToDictionary(pair => pair.Key, pair => pair.Value.Value) };
    }

    /// <inheritdoc/>
    public override LowRankUpdate Merge(MergeInputs inputs, MergeOptions options)
    {
        using var scope = torch.NewDisposeScope();
        var (left, parts) = Directions(inputs);
        var trimmed = inputs.Present.Zip(parts, (input, part) =>
            _thresholds.TryGetValue(input.Adapter, out var threshold)
                ? Trimming.AtLeast(Coordinates(part), threshold)
                : Coordinates(part));
        var merged = Trimming.AgreeingMean([.. trimmed]).to(torch.float64) * options.Lambda;
        var (down, up) = LowRank.WithRank(new LowRankUpdate(merged, left), RankOf(inputs.Sizes, options));
        return new LowRankUpdate(down.MoveToOuterDisposeScope(), up.MoveToOuterDisposeScope());
    }

    /// <summary>U, and each update in its directions as a product of two factors.</summary>
    /// <remarks>Shapes: U [O, K] float64, coordinates Σ [K, R] [R, D], K ≤ min(Σ R, O).</remarks>
    private static (Tensor Left, IReadOnlyList<LowRankUpdate> Parts) Directions(MergeInputs inputs)
    {
        var (downs, ups) = inputs.InFloat64();
        var (q, r) = torch.linalg.qr(torch.cat(ups, 1));                                   // [O, K], [K, Σ R]
        var inner = new List<Tensor>();
        var first = 0L;
        foreach (var down in downs)
        {
            inner.Add(r.narrow(1, first, down.shape[0]));
            first += down.shape[0];
        }
        // The left singular vectors of [… | R_t A_t | …] are those of [… | R_t L_t | …] with A_t = L_t Q_t.
        var small = inner.Zip(downs, (part, down) => part.mm(torch.linalg.qr(down.t()).R.t()));
        var (u, s, _) = torch.linalg.svd(torch.cat([.. small], 1), fullMatrices: false);
        var left = u.narrow(1, 0, LowRank.RankAbove(s, SmallestValue));
        return (q.mm(left), [.. inner.Zip(downs, (part, down) => new LowRankUpdate(down, left.t().mm(part)))]);
    }

    private static Tensor Coordinates(LowRankUpdate part) => part.Product().to(torch.float32);
}

/// <summary>Trims A and B apart, scales up what weak directions lost, and weighs adapters by it.</summary>
/// <remarks>
/// Source: RobustMerge, arXiv:2502.17159; AuroraZengfh/RobustMerge, llava/model/builder.py: of each factor the entries
/// not below element ⌊0.8 n⌋ of the magnitudes; for a rank <c>σ = Σ|A| / Σ|kept A|</c>, and s lifts the smallest σ of
/// an adapter to its 80 % order statistic; <c>A = 2 Σ kept A_t</c>, <c>B = 2 Σ s_t kept B_t / Σ s_t</c>. The 2 and the
/// 20 % are the code's. A rank of which nothing is kept has s = 1.
/// </remarks>
public sealed class RobustMerge()
    : StaticMerge("robustmerge", "A and B trimmed apart, weak directions scaled up (RobustMerge); equal ranks")
{
    private const double Fuse = 2;

    /// <inheritdoc/>
    public override double FirstDensity => 0.2;

    /// <inheritdoc/>
    public override bool JoinsFactors(MergeOptions options) => true;

    /// <inheritdoc/>
    protected override IReadOnlyList<string> OwnOptions => [MergeOptions.LambdaName, MergeOptions.DensityName];

    /// <inheritdoc/>
    public override int RankOf(MergeSizes sizes, MergeOptions options) => sizes.Ranks[0];

    /// <inheritdoc/>
    public override LowRankUpdate Merge(MergeInputs inputs, MergeOptions options)
    {
        using var scope = torch.NewDisposeScope();
        var down = torch.zeros_like(inputs.Present[0].Down);
        var up = torch.zeros_like(inputs.Present[0].Up);
        var sum = torch.zeros([up.shape[1]], torch.float32);
        foreach (var input in inputs.Present)
        {
            var kept = Kept(input.Down, DensityOf(options));
            var scale = Scale(input.Down, kept);                                           // [R]
            down.add_(kept * Fuse);
            up.add_(Kept(input.Up, DensityOf(options)) * scale
                * (Fuse * options.Lambda * input.Weight * input.Scale));
            sum.add_(scale);
        }
        return new LowRankUpdate(down.MoveToOuterDisposeScope(), (up / sum).MoveToOuterDisposeScope());
    }

    /// <summary>A factor with its largest entries.</summary>
    /// <remarks>Shapes: as the factor.</remarks>
    public static Tensor Kept(Tensor factor, double density)
    {
        var place = (long)Math.Floor((1 - density) * factor.numel());
        return place < 1 ? factor : Trimming.AtLeast(factor, Trimming.Magnitude(factor, place));
    }

    /// <summary>What each rank of A lost, the smallest lifted.</summary>
    /// <remarks>Shapes: A [R, D], twice → [R].</remarks>
    public static Tensor Scale(Tensor down, Tensor kept)
    {
        var left = kept.abs().sum(1L);
        var lost = torch.where(left.gt(0), down.abs().sum(1L) / left, torch.ones_like(left));
        var rising = lost.sort(0).Values;
        return lost.clamp(min: rising.select(0, down.shape[0] * 4 / 5).ToDouble());
    }
}
