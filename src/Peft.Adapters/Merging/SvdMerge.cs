namespace Peft.Adapters.Merging;

/// <summary>The weighted sum of the updates, cut down to a rank by its singular values.</summary>
/// <remarks>
/// Source: huggingface/peft, <c>add_weighted_adapter</c> with <c>svd</c>, where each adapter's scale enters twice; here once.
/// </remarks>
public sealed class SvdMerge() : SumMerge("svd", "weighted sum of the updates, cut to --rank (default: the largest adapter's)")
{
    /// <inheritdoc/>
    protected override int? Cut(MergeSizes sizes, MergeOptions options)
    {
        ArgumentNullException.ThrowIfNull(sizes);
        ArgumentNullException.ThrowIfNull(options);
        return sizes.AtMost(options.Rank ?? sizes.Ranks.Max());
    }
}
