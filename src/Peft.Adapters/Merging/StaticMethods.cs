namespace Peft.Adapters.Merging;

/// <summary>The weighted mean of the updates B A; with <see cref="MergeOptions.Factors"/> that of A and of B.</summary>
/// <remarks>
/// Source: of updates, PHATGOOSE's <c>average_outer_product_lora_weights</c>; of factors, mttl's
/// <c>WeightedLinearMerge</c>, whose product has cross terms B_i A_j.
/// </remarks>
public sealed class AverageMerge()
    : SumMerge("average", "weighted mean of the updates B A, exact; with --factors of A and of B apart")
{
    /// <inheritdoc/>
    public override bool KnowsFactors => true;

    /// <inheritdoc/>
    public override double Coefficient(MergeOptions options, int adapter, int adapters) =>
        options.WeightOf(adapter) / Enumerable.Range(0, adapters).Sum(options.WeightOf);

    /// <inheritdoc/>
    public override int RankOf(MergeSizes sizes, MergeOptions options) =>
        JoinsFactors(options) ? sizes.Ranks[0] : base.RankOf(sizes, options);

    /// <inheritdoc/>
    public override LowRankUpdate Merge(MergeInputs inputs, MergeOptions options)
    {
        if (!JoinsFactors(options))
            return base.Merge(inputs, options);
        var tasks = inputs.Present.Select(
            input => (Input: input, Weight: Coefficient(options, input.Adapter, inputs.Adapters))).ToList();
        return new LowRankUpdate(
            Pruning.WeightedSum(
                [.. tasks.Select(task => new TaskMatrix("", task.Weight, new LazyMatrix(task.Input.Down)))]),
            Pruning.WeightedSum(
                [
                    .. tasks.Select(
                        task => new TaskMatrix("", task.Weight * task.Input.Scale, new LazyMatrix(task.Input.Up)))]));
    }
}

/// <summary>Weighted sums of A and of B apart, each with √|w s|.</summary>
/// <remarks>
/// Source: huggingface/peft, <c>add_weighted_adapter</c> with <c>linear</c>; the sign of w goes to B. The product has
/// cross terms.
/// </remarks>
public sealed class LinearMerge()
    : ElementwiseMerge("linear", "weighted sums of A and of B apart, as PEFT's linear; equal ranks")
{
    /// <inheritdoc/>
    public override bool KnowsFactors => false;

    /// <inheritdoc/>
    public override bool JoinsFactors(MergeOptions options) => true;

    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<TaskMatrix> tasks, MergeOptions options) =>
        Pruning.WeightedSum(tasks);
}

/// <summary>The weighted sum of the updates, exact: A stacked, B side by side.</summary>
/// <remarks>Source: huggingface/peft, <c>add_weighted_adapter</c> with <c>cat</c>. Its rank is the sum of the
/// ranks.</remarks>
public sealed class CatMerge() : SumMerge("cat", "weighted sum of the updates, exact; ranks add up")
{
    /// <inheritdoc/>
    public override bool CutsRank => false;

    /// <inheritdoc/>
    protected override int? Cut(MergeSizes sizes, MergeOptions options) => null;
}

/// <summary>The weighted sum of the updates, cut down to a rank by its singular values.</summary>
/// <remarks>
/// Source: huggingface/peft, <c>add_weighted_adapter</c> with <c>svd</c>, where each adapter's scale enters twice; here
/// once.
/// </remarks>
public sealed class SvdMerge()
    : SumMerge("svd", "weighted sum of the updates, cut to --rank (default: the largest adapter's)")
{
    /// <inheritdoc/>
    protected override int? Cut(MergeSizes sizes, MergeOptions options) =>
        sizes.AtMost(options.Rank ?? sizes.Ranks.Max());
}

/// <summary>λ times the weighted sum of the updates.</summary>
/// <remarks>Source: task arithmetic, arXiv:2212.04089: <c>θ = θ₀ + λ Σ w_i τ_i</c>.</remarks>
public sealed class TaskArithmeticMerge() : SumMerge("task-arithmetic", "lambda times the weighted sum of the updates")
{
    /// <inheritdoc/>
    protected override IReadOnlyList<string> OwnOptions => [MergeOptions.LambdaName];
}

/// <summary>Trims each update to its largest entries, elects a sign for each entry, and averages those that
/// agree.</summary>
/// <remarks>Source: TIES, arXiv:2306.01708; huggingface/peft, <c>ties</c> (signs by total mass).</remarks>
public sealed class TiesMerge()
    : ElementwiseMerge("ties", "largest entries, elected signs, mean of those that agree (TIES)")
{
    /// <inheritdoc/>
    protected override IReadOnlyList<string> OwnOptions => [MergeOptions.DensityName];

    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<TaskMatrix> tasks, MergeOptions options) =>
        Pruning.SignedMean(tasks, Pruning.Trimmed(tasks, DensityOf(options)));
}

/// <summary>Drops entries at random, scales up the rest, and adds.</summary>
/// <remarks>Source: DARE, arXiv:2311.03099; huggingface/peft, <c>dare_linear</c>.</remarks>
public sealed class DareLinearMerge() : ElementwiseMerge("dare-linear", "random entries scaled up, weighted sum (DARE)")
{
    /// <inheritdoc/>
    protected override IReadOnlyList<string> OwnOptions => [MergeOptions.DensityName, MergeOptions.SeedName];

    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<TaskMatrix> tasks, MergeOptions options) =>
        Pruning.WeightedSum(tasks, Pruning.Dropped(tasks, DensityOf(options), options.Seed));
}

/// <summary>Drops entries at random, scales up the rest, elects signs and averages those that agree.</summary>
/// <remarks>Source: DARE, arXiv:2311.03099, with TIES, arXiv:2306.01708; huggingface/peft, <c>dare_ties</c>.</remarks>
public sealed class DareTiesMerge()
    : ElementwiseMerge("dare-ties", "random entries scaled up, elected signs, mean of those that agree")
{
    /// <inheritdoc/>
    protected override IReadOnlyList<string> OwnOptions => [MergeOptions.DensityName, MergeOptions.SeedName];

    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<TaskMatrix> tasks, MergeOptions options) =>
        Pruning.SignedMean(tasks, Pruning.Dropped(tasks, DensityOf(options), options.Seed));
}

/// <summary>Trims each update to its largest entries and adds.</summary>
/// <remarks>Source: huggingface/peft, <c>magnitude_prune</c>.</remarks>
public sealed class MagnitudePruneMerge() : ElementwiseMerge("magnitude-prune", "largest entries, weighted sum")
{
    /// <inheritdoc/>
    protected override IReadOnlyList<string> OwnOptions => [MergeOptions.DensityName];

    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<TaskMatrix> tasks, MergeOptions options) =>
        Pruning.WeightedSum(tasks, Pruning.Trimmed(tasks, DensityOf(options)));
}
