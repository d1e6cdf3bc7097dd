using Peft.Adapters.Bundles;
using Peft.Adapters.Routing;

namespace Peft.Adapters.Merging;

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
