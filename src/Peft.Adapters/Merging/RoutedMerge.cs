using Peft.Adapters.Bundles;
using Peft.Adapters.Routing;

namespace Peft.Adapters.Merging;

/// <summary>A merge that keeps every adapter as an expert and routes tokens among them.</summary>
/// <param name="name">Its name; also the kind of its router.</param>
/// <param name="description">One line for help texts.</param>
public abstract class RoutedMerge(string name, string description) : MergeMethod(name, description)
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> Uses(MergeOptions options) =>
        [MergeOptions.TopKName, MergeOptions.TemperatureName];

    /// <summary>The trained vectors it needs (<see cref="GateVectors"/>); null: none.</summary>
    public virtual string? VectorKind => null;

    /// <summary>The router of the result.</summary>
    public abstract RouterOptions Router(MergeOptions options, int topK);

    /// <summary>The vector that an adapter is chosen by in a module.</summary>
    /// <remarks>Shapes: [D] float32.</remarks>
    /// <param name="input">The adapter in this module.</param>
    /// <param name="trained">Its vector of <see cref="VectorKind"/>; null where that is null.</param>
    public abstract Tensor VectorOf(MergeInput input, Tensor? trained);
}

/// <summary>Routes by the gates that were trained on each adapter by itself.</summary>
/// <remarks>Source: PHATGOOSE, arXiv:2402.05859.</remarks>
public sealed class PhatgooseMerge()
    : RoutedMerge("phatgoose", "routed: the gate that peft gate trained for each adapter (PHATGOOSE)")
{
    /// <inheritdoc/>
    public override string? VectorKind => GateVectors.Gate;

    /// <inheritdoc/>
    public override RouterOptions Router(MergeOptions options, int topK) =>
        new PhatgooseRouterOptions { TopK = topK, Temperature = options is null ? 1 : options.Temperature };

    /// <inheritdoc/>
    public override Tensor VectorOf(MergeInput input, Tensor? trained) => trained!;
}

/// <summary>Routes by the direction in which each update acts most.</summary>
/// <remarks>Source: Arrow, arXiv:2405.11157; by an exact SVD of the factors, where PEFT takes 15 power
/// iterations.</remarks>
public sealed class ArrowMerge()
    : RoutedMerge("arrow", "routed: the first right singular vector of each update (Arrow); no data needed")
{
    /// <inheritdoc/>
    public override RouterOptions Router(MergeOptions options, int topK) =>
        new ArrowRouterOptions { TopK = topK, Temperature = options is null ? 1 : options.Temperature };

    /// <inheritdoc/>
    public override Tensor VectorOf(MergeInput input, Tensor? trained) => Prototype(input);

    /// <summary>The first right singular vector of B A; its largest entry is positive. Zeros for an update of
    /// zero.</summary>
    /// <remarks>Shapes: [D], of length 1.</remarks>
    public static Tensor Prototype(MergeInput input)
    {
        // The scale changes no direction; with it the numbers are those that the merge itself stores, to the last bit.
        var (_, s, vh) = LowRank.Svd(new LowRankUpdate(input.Down, input.Up * input.Scale));
        var first = vh.select(0, 0);
        if (s.select(0, 0).ToDouble() == 0)
            return torch.zeros([input.Down.shape[1]], torch.float32);
        var largest = first.index_select(0, first.abs().argmax(0).reshape(1));
        return (first * largest.sign()).to(torch.float32);
    }
}

/// <summary>Routes by the mean input that each adapter's data gives a module.</summary>
/// <remarks>Source: PHATGOOSE's baseline, arXiv:2402.05859, section 4.</remarks>
public sealed class AverageActivationMerge()
    : RoutedMerge("average-activation", "routed: the mean input of each adapter's data (measured by peft gate)")
{
    /// <inheritdoc/>
    public override string? VectorKind => GateVectors.MeanInput;

    /// <inheritdoc/>
    public override RouterOptions Router(MergeOptions options, int topK) =>
        new AverageActivationRouterOptions { TopK = topK, Temperature = options is null ? 1 : options.Temperature };

    /// <inheritdoc/>
    public override Tensor VectorOf(MergeInput input, Tensor? trained) => trained!;
}
