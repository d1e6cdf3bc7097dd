namespace Peft.Adapters.Merging;

/// <summary>Drops entries at random, scales up the rest, elects signs and averages those that agree.</summary>
/// <remarks>Source: DARE, arXiv:2311.03099, with TIES, arXiv:2306.01708; huggingface/peft, <c>dare_ties</c>.</remarks>
public sealed class DareTiesMerge() : ElementwiseMerge("dare-ties", "random entries scaled up, elected signs, mean of those that agree")
{
    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<TaskTensor> tasks, MergeOptions options) =>
        Pruning.SignedMean(tasks, task => Pruning.Drop(task, options));
}
