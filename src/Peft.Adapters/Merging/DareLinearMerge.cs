namespace Peft.Adapters.Merging;

/// <summary>Drops entries at random, scales up the rest, and adds.</summary>
/// <remarks>Source: DARE, arXiv:2311.03099; huggingface/peft, <c>dare_linear</c>.</remarks>
public sealed class DareLinearMerge() : ElementwiseMerge("dare-linear", "random entries scaled up, weighted sum (DARE)")
{
    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<TaskTensor> tasks, MergeOptions options) =>
        Pruning.WeightedSum(tasks, task => Pruning.Drop(task, options));
}
