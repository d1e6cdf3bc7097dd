namespace Peft.Adapters.Merging;

/// <summary>The weighted mean of the updates B A; with <see cref="MergeOptions.Factors"/> that of A and of B.</summary>
/// <remarks>
/// Source: of updates, PHATGOOSE's <c>average_outer_product_lora_weights</c>; of factors, mttl's <c>WeightedLinearMerge</c>, whose
/// product has cross terms B_i A_j.
/// </remarks>
public sealed class AverageMerge() : SumMerge("average", "weighted mean of the updates B A, exact; with --factors of A and of B apart")
{
    /// <inheritdoc/>
    public override bool KnowsFactors => true;

    /// <inheritdoc/>
    public override double Coefficient(MergeOptions options, int adapter, int adapters)
    {
        ArgumentNullException.ThrowIfNull(options);
        return options.WeightOf(adapter) / Enumerable.Range(0, adapters).Sum(options.WeightOf);
    }

    /// <inheritdoc/>
    public override int RankOf(MergeSizes sizes, MergeOptions options)
    {
        ArgumentNullException.ThrowIfNull(sizes);
        return JoinsFactors(options) ? sizes.Ranks[0] : base.RankOf(sizes, options);
    }

    /// <inheritdoc/>
    public override LowRankUpdate Merge(MergeInputs inputs, MergeOptions options)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        if (!JoinsFactors(options))
            return base.Merge(inputs, options);
        var tasks = inputs.Present.Select(input => (Input: input, Weight: Coefficient(options, input.Adapter, inputs.Adapters))).ToList();
        return new LowRankUpdate(
            Pruning.WeightedSum([.. tasks.Select(task => new TaskTensor("", task.Weight, () => task.Input.Down))], task => task.Make()),
            Pruning.WeightedSum([.. tasks.Select(task => new TaskTensor("", task.Weight * task.Input.Scale, () => task.Input.Up))], task => task.Make()));
    }
}
