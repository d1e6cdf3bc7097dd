using Peft.Adapters.Routing;

namespace Peft.Adapters.Merging;

/// <summary>Routes by the direction in which each update acts most.</summary>
/// <remarks>Source: Arrow, arXiv:2405.11157; by an exact SVD of the factors, where PEFT takes 15 power iterations.</remarks>
public sealed class ArrowMerge() : RoutedMerge("arrow", "routed: the first right singular vector of each update (Arrow); no data needed")
{
    /// <inheritdoc/>
    public override RouterOptions Router(MergeOptions options, int topK) =>
        new ArrowRouterOptions { TopK = topK, Temperature = options is null ? 1 : options.Temperature };

    /// <inheritdoc/>
    public override Tensor VectorOf(MergeInput input, Tensor? trained) => Prototype(input);

    /// <summary>The first right singular vector of B A; its largest entry is positive. Zeros for an update of zero.</summary>
    /// <remarks>Shapes: [D], of length 1.</remarks>
    public static Tensor Prototype(MergeInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        // The scale changes no direction; with it the numbers are those that the merge itself stores, to the last bit.
        var (_, s, vh) = LowRank.Svd(new LowRankUpdate(input.Down, input.Up * input.Scale));
        var first = vh.select(0, 0);
        if (s.select(0, 0).ToDouble() == 0)
            return torch.zeros([input.Down.shape[1]], torch.float32);
        var largest = first.index_select(0, first.abs().argmax(0).reshape(1));
        return (first * largest.sign()).to(torch.float32);
    }
}
