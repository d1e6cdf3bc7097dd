namespace Peft.Adapters.Merging;

/// <summary>Trims each update to its largest entries and adds.</summary>
/// <remarks>Source: huggingface/peft, <c>magnitude_prune</c>.</remarks>
public sealed class MagnitudePruneMerge() : ElementwiseMerge("magnitude-prune", "largest entries, weighted sum")
{
    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<TaskTensor> tasks, MergeOptions options) =>
        Pruning.WeightedSum(tasks, task => Pruning.Trim(task, options));
}
