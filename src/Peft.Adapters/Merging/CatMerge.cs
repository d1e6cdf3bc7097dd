namespace Peft.Adapters.Merging;

/// <summary>The weighted sum of the updates, exact: A stacked, B side by side.</summary>
/// <remarks>Source: huggingface/peft, <c>add_weighted_adapter</c> with <c>cat</c>. Its rank is the sum of the ranks.</remarks>
public sealed class CatMerge() : SumMerge("cat", "weighted sum of the updates, exact; ranks add up")
{
    /// <inheritdoc/>
    protected override int? Cut(MergeSizes sizes, MergeOptions options) => null;
}
