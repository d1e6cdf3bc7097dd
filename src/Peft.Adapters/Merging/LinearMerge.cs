namespace Peft.Adapters.Merging;

/// <summary>Weighted sums of A and of B apart, each with √|w s|.</summary>
/// <remarks>
/// Source: huggingface/peft, <c>add_weighted_adapter</c> with <c>linear</c>; the sign of w goes to B. The product has cross terms.
/// </remarks>
public sealed class LinearMerge() : ElementwiseMerge("linear", "weighted sums of A and of B apart, as PEFT's linear; equal ranks")
{
    /// <inheritdoc/>
    public override bool JoinsFactors(MergeOptions options) => true;

    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<TaskTensor> tasks, MergeOptions options) =>
        Pruning.WeightedSum(tasks, task => task.Make());
}
