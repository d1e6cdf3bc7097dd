namespace Peft.Adapters.Merging;

/// <summary>One tensor of an element-wise merge, made when it is asked for, so that never more than a few of them exist.</summary>
/// <param name="Stream">Names its random numbers.</param>
/// <param name="Weight">Its weight.</param>
/// <param name="Make">Makes it.</param>
public sealed record TaskTensor(string Stream, double Weight, Func<Tensor> Make);

/// <summary>A merge that goes entry by entry: over the updates B A, or over A and B apart.</summary>
/// <remarks>
/// Source: huggingface/peft, merge_utils.py. Over the updates (PEFT's names with <c>_svd</c>) adapters may differ in rank, and the
/// result is cut down to a rank; over the factors (PEFT's names without) each factor has the weight √|w s|, and its sign on B.
/// </remarks>
/// <param name="name">Its name.</param>
/// <param name="description">One line for help texts.</param>
public abstract class ElementwiseMerge(string name, string description) : StaticMerge(name, description)
{
    /// <inheritdoc/>
    public override bool KnowsFactors => true;

    /// <summary>Combines tensors of one shape.</summary>
    /// <remarks>Shapes: as the tensors. Gradient: none.</remarks>
    public abstract Tensor Combine(IReadOnlyList<TaskTensor> tasks, MergeOptions options);

    /// <inheritdoc/>
    public override int RankOf(MergeSizes sizes, MergeOptions options)
    {
        ArgumentNullException.ThrowIfNull(sizes);
        ArgumentNullException.ThrowIfNull(options);
        return JoinsFactors(options) ? sizes.Ranks[0] : sizes.AtMost(options.Rank ?? sizes.Sum);
    }

    /// <inheritdoc/>
    public override LowRankUpdate Merge(MergeInputs inputs, MergeOptions options)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(options);
        if (JoinsFactors(options))
            return new LowRankUpdate(
                Combine([.. inputs.Present.Select(input => Factor(inputs, input, "A", Math.Sqrt(Math.Abs(input.Weight * input.Scale)), input.Down))], options),
                Combine([.. inputs.Present.Select(input => Factor(
                    inputs, input, "B", Math.Sign(input.Weight * input.Scale) * Math.Sqrt(Math.Abs(input.Weight * input.Scale)), input.Up))], options));
        var dense = Combine(
            [.. inputs.Present.Select(input => new TaskTensor($"{inputs.Path}.{input.Name}", input.Weight, input.Update))], options);
        var sizes = new MergeSizes(inputs.Out, inputs.In, [.. inputs.Present.Select(input => (int)input.Down.shape[0])]);
        return LowRank.Truncate(dense, RankOf(sizes, options));
    }

    private static TaskTensor Factor(MergeInputs inputs, MergeInput input, string factor, double weight, Tensor values) =>
        new($"{inputs.Path}.{input.Name}.{factor}", weight, () => values);
}
