namespace Peft.Adapters.Merging;

/// <summary>Trims each update to its largest entries, elects a sign for each entry, and averages those that agree.</summary>
/// <remarks>Source: TIES, arXiv:2306.01708; huggingface/peft, <c>ties</c> (signs by total mass).</remarks>
public sealed class TiesMerge() : ElementwiseMerge("ties", "largest entries, elected signs, mean of those that agree (TIES)")
{
    /// <inheritdoc/>
    public override Tensor Combine(IReadOnlyList<TaskTensor> tasks, MergeOptions options) =>
        Pruning.SignedMean(tasks, task => Pruning.Trim(task, options));
}
